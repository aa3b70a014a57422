//! The real binary as child processes: started, asked, stopped, killed. None outlives the test that started it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mallard_testkit::Http;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{PASSWORD, PATIENT, Shopper, knows_the_keys, patiently, unique};

/// Longest wait for a process to say or do something; only ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(300);
/// Lines of standard error shown when a test fails.
const SHOWN_LINES: usize = 40;

/// Ends a process when its own standard input ends, which also happens when the test process is killed.
const WATCHER: &str = r#"cat >/dev/null; kill -9 "$1" 2>/dev/null"#;

/// Returns the binary: that of `MALLARD_BIN`, or the one that belongs to this build, built now.
///
/// # Panics
/// When it cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("MALLARD_BIN") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

fn build() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    // target/debug/deps/test-0123 belongs to target/debug/mallard.
    let folder = test.parent().and_then(Path::parent).expect("a target folder");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "mallard", "--quiet"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if folder.ends_with("release") {
        command.arg("--release");
    }
    let built = command.status().expect("cargo runs");
    assert!(built.success(), "cargo build --package mallard failed");
    folder.join("mallard")
}

/// Returns a port of the loopback that is free, and that no other test of this process was given.
///
/// # Panics
/// When none is free.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock();
    // Below the ports that the system gives to outgoing connections, so that none of those takes it in between.
    let first = 12_000 + (std::process::id() % 1_000) as u16 * 18;
    let port =
        (first..first + 2_000).find(|port| !given.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let port = port.expect("a free port");
    given.insert(port);
    port
}

/// Returns an address of the loopback that is free.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

type Lines = Arc<Mutex<Vec<String>>>;

/// A running `mallard`. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    watcher: Option<Child>,
    out: Lines,
    err: Lines,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Process {
    /// Starts the binary with these arguments and, beside cheap passwords and [`PATIENT`], these settings of the environment.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(args: &[&str], env: &[(&str, &str)]) -> Process {
        let mut command = Command::new(binary());
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MALLARD_") {
                command.env_remove(name);
            }
        }
        command.env("MALLARD_IDENTITY__ARGON2_MEMORY_KIB", "64").env("MALLARD_IDENTITY__ARGON2_ITERATIONS", "1");
        for (key, value) in PATIENT {
            command.env(format!("MALLARD_{}", key.replace('.', "__").to_uppercase()), value.to_string());
        }
        command.envs(env.iter().copied());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{} does not start: {error}", binary().display()));
        let watcher = watch(child.id());
        let (out, err) = (Lines::default(), Lines::default());
        let readers = vec![
            read(child.stdout.take().expect("piped"), Arc::clone(&out)),
            read(child.stderr.take().expect("piped"), Arc::clone(&err)),
        ];
        Process { name: args.join(" "), child, watcher: Some(watcher), out, err, readers }
    }

    /// Waits for a line of standard output that begins like this, and returns the rest of it.
    ///
    /// # Panics
    /// When the process ends before, or says nothing of the kind for five minutes.
    pub async fn says(&mut self, begins: &str) -> String {
        let begun = Instant::now();
        loop {
            let found = self.out.lock().iter().find_map(|line| line.strip_prefix(begins).map(str::to_owned));
            if let Some(rest) = found {
                return rest;
            }
            if let Some(status) = self.child.try_wait().expect("our child") {
                panic!("mallard {} ended with {status} before it said {begins:?}", self.name);
            }
            assert!(begun.elapsed() < PATIENCE, "mallard {} never said {begins:?}", self.name);
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until `mallard up` is open, and returns its address.
    pub async fn opens(&mut self) -> SocketAddr {
        let rest = self.says("mallard is open at http://").await;
        let address = rest.split_whitespace().next().unwrap_or_default();
        address.parse().unwrap_or_else(|error| panic!("{address:?} is no address: {error}"))
    }

    /// Asks it to stop in order (SIGTERM).
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn terminate(&self) {
        let sent = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIGTERM could not be sent");
    }

    /// Kills it at once (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) {
        self.dismiss_watcher();
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end, and returns the exit code; -1 when a signal ended it.
    ///
    /// # Panics
    /// After five minutes.
    pub async fn ends(&mut self) -> i32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                self.dismiss_watcher();
                for reader in self.readers.drain(..) {
                    // A panic there would have lost lines only.
                    let _ = reader.join();
                }
                return status.code().unwrap_or(-1);
            }
            assert!(begun.elapsed() < PATIENCE, "mallard {} does not end", self.name);
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns what it wrote to standard output so far.
    pub fn out(&self) -> String {
        self.out.lock().join("\n")
    }

    /// Returns what it wrote to standard error so far.
    pub fn err(&self) -> String {
        self.err.lock().join("\n")
    }

    fn dismiss_watcher(&mut self) {
        // Before the child is waited for: from then on its number may belong to somebody else.
        if let Some(mut watcher) = self.watcher.take() {
            let _ = watcher.kill();
            let _ = watcher.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let err = self.err.lock();
            let shown = err.len().saturating_sub(SHOWN_LINES);
            eprintln!("--- mallard {}\n{}", self.name, err[shown..].join("\n"));
        }
    }
}

fn watch(pid: u32) -> Child {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", WATCHER, "watcher"])
        .arg(pid.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect("a shell")
}

fn read(from: impl Read + Send + 'static, into: Lines) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { return };
            into.lock().push(line);
        }
    })
}

/// What a command did.
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs a command of the binary to its end.
pub async fn run(args: &[&str], env: &[(&str, &str)]) -> Ran {
    let mut process = Process::start(args, env);
    let code = process.ends().await;
    Ran { code, out: process.out(), err: process.err() }
}

/// Registers a shopper at a door.
pub async fn shopper_at(http: &Http) -> Shopper {
    let mut email = String::new();
    let answer = patiently("somebody registers", async || {
        email = format!("{}-{}@shop.test", unique("shopper"), std::process::id());
        http.post("/auth/v1/register", json!({ "email": email, "password": PASSWORD, "name": "Ada" })).await
    })
    .await
    .expect(201);
    let tokens = answer.body["tokens"].clone();
    let signed_in = http.token(tokens["access_token"].as_str().expect("a token"));
    knows_the_keys(&signed_in).await;
    Shopper { http: signed_in, id: answer.body["user"]["id"].as_str().expect("an id").into(), email, tokens }
}

/// Signs an operator in at a door.
pub async fn operator_at(http: &Http, email: &str, password: &str) -> Http {
    let login = json!({ "email": email, "password": password });
    let answer =
        patiently("an operator signs in", async || http.post("/auth/v1/login", login.clone()).await).await.expect(200);
    let signed_in = http.token(answer.body["tokens"]["access_token"].as_str().expect("a token"));
    knows_the_keys(&signed_in).await;
    signed_in
}

/// Lists a product with one variant in CNY through a door; returns its SKU id.
pub async fn product_at(operator: &Http, title: &str, price: i64, stock: i64) -> String {
    let body = json!({
        "title": title,
        "status": "listed",
        "variants": [{ "title": title, "price": { "amount": price, "currency": "CNY" }, "stock": stock }],
    });
    let made = operator.post("/admin/v1/products", body).await.expect(201).body;
    made["product"]["variants"][0]["id"].as_str().expect("a sku").to_owned()
}

/// Waits until units on hand and reserved are these.
pub async fn stock_at(operator: &Http, sku: &str, on_hand: i64, reserved: i64) {
    mallard_testkit::eventually(&format!("stock of {sku} is {on_hand} with {reserved} reserved"), async || {
        let stock = operator.get(&format!("/admin/v1/inventory/{sku}")).await.body["inventory"].clone();
        stock["on_hand"] == on_hand && stock["reserved"] == reserved
    })
    .await;
}

/// Asserts over HTTP that the books balance. Books that cannot be read yet, because a process that asks another one has not
/// found out that it is back, are read again; books that are read and wrong are wrong at once.
///
/// # Panics
/// When a check is red, or a service's books cannot be read for five minutes.
pub async fn check_at(operator: &Http) {
    let begun = Instant::now();
    loop {
        let answer = operator.get("/admin/v1/check").await.expect(200).body;
        let checks = answer["checks"].as_array().cloned().unwrap_or_default();
        let red: Vec<&Value> = checks.iter().filter(|check| check["ok"] != true).collect();
        if answer["ok"] == true && red.is_empty() {
            return;
        }
        let told = red.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(!red.is_empty() && red.iter().all(|check| is_away(check)), "{told}");
        assert!(begun.elapsed() < PATIENCE, "{told}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Tells whether a check says that a service, or one it asks, was not there.
fn is_away(check: &Value) -> bool {
    let (name, detail) = (check["name"].as_str().unwrap_or_default(), check["detail"].as_str().unwrap_or_default());
    name.ends_with(".answers") && detail.starts_with("unavailable ") || detail.contains("does not answer: unavailable ")
}
