//! The embedded default file says what the types say: it is their documentation.

use std::fmt::Debug;

use serde::de::DeserializeOwned;

fn check<T: DeserializeOwned + Default + Debug>(section: &str) {
    let config = mallard_runtime::Config::defaults(mallard::DEFAULT_CONFIG);
    let written: T = config.section(section).unwrap();
    assert_eq!(format!("{written:#?}"), format!("{:#?}", T::default()), "section [{section}] of default.toml");
}

#[test]
fn the_default_file_and_the_defaults_of_the_types_are_the_same() {
    check::<mallard_identity::Config>("identity");
    check::<mallard_catalog::Config>("catalog");
    check::<mallard_inventory::Config>("inventory");
    check::<mallard_promotion::config::Config>("promotion");
    check::<mallard_cart::config::Config>("cart");
    check::<mallard_payment::config::Config>("payment");
    check::<mallard_order::Config>("order");
    check::<mallard_insight::Config>("insight");
    check::<mallard_gateway::Config>("gateway");
    check::<mallard_rpc::Config>("rpc");
    check::<mallard_runtime::HttpConfig>("http");
}
