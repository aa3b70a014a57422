//! A card's number and code are in no log line and in no byte of any database. In a process of its own, because it listens
//! to every log line.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use mallard_proto::common::v1::Money;
use mallard_proto::payment::v1::payment_service_client::PaymentServiceClient;
use mallard_proto::payment::v1::*;
use mallard_rpc::ServiceChannel;
use mallard_runtime::{Chance, Clock, Settings, Storage};
use mallard_testkit::as_system;
use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

const CVC: &str = "7391";
const NUMBERS: [&str; 4] = ["378282246310005", "4242424242424242", "4000000000000002", "4000000000000119"];

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Captured;

    fn make_writer(&'a self) -> Captured {
        self.clone()
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Tells whether these digits stand somewhere as a number of their own: a time in microseconds may hold any four digits.
fn contains_number(bytes: &[u8], digits: &str) -> bool {
    bytes.split(|byte| !byte.is_ascii_digit()).any(|number| number == digits.as_bytes())
}

fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

#[tokio::test]
async fn no_card_number_and_no_code_reach_a_log_or_a_disk() {
    let logs = Captured::default();
    // Without times, which hold other digits in every run.
    let lines = tracing_subscriber::fmt().without_time().with_max_level(tracing::Level::TRACE).with_ansi(false);
    lines.with_writer(logs.clone()).init();
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        storage: Storage::Folder(folder.path().to_owned()),
        // The same ids and times in every run, so that four digits do not turn up by chance in one of them.
        clock: Clock::simulated(1_795_219_200_000_000),
        chance: Chance::seeded(1),
        ..mallard_testkit::settings(vec![mallard_payment::service()])
    };
    let mall = mallard_testkit::start(settings).await;
    let payments: PaymentServiceClient<ServiceChannel> = mall.client();
    for (i, number) in NUMBERS.iter().enumerate() {
        let cvc = if number.len() == 15 { CVC } else { &CVC[..3] };
        let input = PaymentInput {
            method: "card".into(),
            number: (*number).into(),
            exp_month: 12,
            exp_year: 2040,
            cvc: cvc.into(),
            ..PaymentInput::default()
        };
        let bad = PaymentInput { cvc: "73910".into(), ..input.clone() };
        as_system(async {
            payments.clone().tokenise(TokeniseRequest { input: Some(bad) }).await.unwrap_err();
            let token = payments
                .clone()
                .tokenise(TokeniseRequest { input: Some(input) })
                .await
                .unwrap()
                .into_inner()
                .card_token;
            let request = StartPaymentRequest {
                payment_id: format!("pay_{i}"),
                order_id: format!("ord_{i}"),
                user_id: "usr_1".into(),
                amount: Some(Money { amount: 990, currency: "CNY".into() }),
                method: "card".into(),
                card_token: token,
                rounding_nanos: 0,
            };
            payments.clone().start_payment(request).await.unwrap();
            payments.clone().resolve_payment(ResolvePaymentRequest { order_id: format!("ord_{i}") }).await.unwrap();
        })
        .await;
    }
    mall.stop().await;

    let mut found = Vec::new();
    files(folder.path(), &mut found);
    let stored: Vec<_> = found.iter().filter(|(_, bytes)| contains(bytes, "pay_3")).collect();
    assert!(
        stored.len() >= 2,
        "both databases were searched: {:?}",
        found.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
    found.push(("logs".into(), logs.0.lock().clone()));
    assert!(contains(&found.last().unwrap().1, "payment settled"), "the logs were captured");
    for (name, bytes) in &found {
        for number in NUMBERS {
            assert!(!contains(bytes, number), "{name} holds a card number");
        }
        assert!(!contains_number(bytes, CVC), "{name} holds a security code");
    }
}
