//! What a decision costs, beside the same decision made by Casbin each time.
//!
//! `cargo bench -p mallard-access --bench decide`

use std::sync::atomic::{AtomicU64, Ordering};

use divan::{Bencher, black_box};
use mallard_access::{Access, Effect, Role, Rule};

fn main() {
    divan::main();
}

/// A policy of a mall: a few wide rules, and many narrow ones of operators' roles.
fn policy(rules: usize) -> Access {
    let rule = |id: usize, role: &str, path: String, method: &str, effect| Rule {
        id: format!("pol_{id}"),
        role: role.to_owned(),
        domain: "*".to_owned(),
        path,
        method: method.to_owned(),
        effect,
    };
    let mut all = vec![
        rule(0, "user", "/store/v1/*".to_owned(), "*", Effect::Allow),
        rule(1, "user", "/auth/v1/*".to_owned(), "*", Effect::Allow),
        rule(2, "seller", "/seller/v1/*".to_owned(), "*", Effect::Allow),
        rule(3, "admin", "/admin/v1/*".to_owned(), "*", Effect::Allow),
        rule(4, "user", "^/store/v1/orders/[^/]+/refund$".to_owned(), "POST", Effect::Deny),
    ];
    for id in all.len()..rules {
        let (path, effect) = match id % 3 {
            0 => (format!("/admin/v1/things-{id}/:id"), Effect::Allow),
            1 => (format!("^/admin/v1/area{id}/.*$"), Effect::Deny),
            _ => (format!("/admin/v1/area{id}/*"), Effect::Allow),
        };
        all.push(rule(id, &format!("role{}", id % 20), path, "GET|POST", effect));
    }
    let roles = vec![
        Role { name: "admin".to_owned(), inherits: vec!["seller".to_owned()] },
        Role { name: "seller".to_owned(), inherits: vec!["user".to_owned()] },
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    runtime
        .block_on(Access::new(all, roles, vec!["GET /store/v1/products/:id".to_owned()]))
        .expect("the policy is good")
}

const PATH: &str = "/store/v1/orders/ord_01k9zjm2w4e8v0t5x3n7b6c1qd";

fn roles() -> Vec<String> {
    vec!["user".to_owned()]
}

#[divan::bench(args = [10, 100, 1000], sample_count = 200, sample_size = 500)]
fn same_path(bencher: Bencher, rules: usize) {
    let (access, roles) = (policy(rules), roles());
    access.decide(&roles, "", "GET", PATH);
    bencher.bench_local(|| access.decide(&roles, "", "GET", black_box(PATH)));
}

#[divan::bench(args = [10, 100, 1000], sample_count = 200, sample_size = 500)]
fn another_id_each_time(bencher: Bencher, rules: usize) {
    let (access, roles) = (policy(rules), roles());
    access.decide(&roles, "", "GET", PATH);
    let next = AtomicU64::new(0x9e37_79b9);
    bencher
        .with_inputs(|| {
            let id = next.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            format!("/store/v1/orders/ord_{id:016x}{:010x}", id.rotate_left(23) >> 24)
        })
        .bench_local_refs(|path| access.decide(&roles, "", "GET", path));
}

#[divan::bench(args = [10, 100, 1000], sample_count = 200, sample_size = 500)]
fn spelt_with_percent_signs(bencher: Bencher, rules: usize) {
    let (access, roles) = (policy(rules), roles());
    bencher.bench_local(|| {
        access.decide(&roles, "", "GET", black_box("/store/v1/%6frders//ord_01k9zjm2w4e8v0t5x3n7b6c1qd/"))
    });
}

#[divan::bench(args = [10, 100, 1000], sample_count = 200, sample_size = 500)]
fn allow_list(bencher: Bencher, rules: usize) {
    let access = policy(rules);
    bencher
        .bench_local(|| access.needs_no_login("GET", black_box("/store/v1/products/prod_01k9zjm2w4e8v0t5x3n7b6c1qd")));
}

/// The baseline, and what a miss costs beside the look-up.
#[divan::bench(args = [10, 100, 1000], sample_count = 100)]
fn casbin_each_time(bencher: Bencher, rules: usize) {
    let (access, roles) = (policy(rules), roles());
    bencher.bench_local(|| access.decide_anew(&roles, "", "GET", black_box(PATH)));
}
