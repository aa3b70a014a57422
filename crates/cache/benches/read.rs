//! Cost of one read: `cargo bench -p mallard-cache`.

use std::sync::Arc;
use std::time::Duration;

use mallard_cache::{Cache, Options};

fn main() {
    divan::main();
}

fn filled() -> (Cache<String, Arc<str>>, Vec<String>) {
    let cache = Cache::new("bench", Options::new(10_000, Duration::from_secs(3600)));
    let keys: Vec<String> = (0..4_096).map(|n| format!("prd_{n:026}")).collect();
    for key in &keys {
        cache.insert(key.clone(), Arc::from(key.as_str()));
    }
    (cache, keys)
}

#[divan::bench(threads = [1, 2], sample_count = 200, sample_size = 5_000)]
fn hit(bencher: divan::Bencher) {
    let (cache, keys) = filled();
    let next = std::sync::atomic::AtomicUsize::new(0);
    bencher.bench(|| {
        let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        cache.get(&keys[n % keys.len()])
    });
}
