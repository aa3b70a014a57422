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

/// Reads a section `[rpc]` as every command does at its start.
fn calls(section: &str) -> Result<(), String> {
    mallard::check_calls(&mallard_runtime::Config::defaults(section)).map_err(|error| error.to_string())
}

#[test]
fn a_service_or_method_of_calls_that_does_not_exist_stops_the_start() {
    let good = "[rpc.services.default]\nbalance = 'round_robin'\n[rpc.services.web]\nslow_start_ms = 5\n\
                [rpc.methods.'catalog.GetProduct']\nhedge_after_ms = 50\nfallback = 'last_good'\n\
                [rpc.methods.'order.PlaceOrder']\ntimeout_ms = 900\n[rpc.methods.'web.Deliver']\nconcurrency_max = 9";
    calls(good).unwrap();
    for (section, told) in [
        (
            "[rpc.services.catalgo]\nslow_start_ms = 5",
            "rpc.services.catalgo is of no service: there is no catalgo; the ",
        ),
        (
            "[rpc.methods.'catalog.GetProdukt']\ntimeout_ms = 5",
            "rpc.methods.\"catalog.GetProdukt\" is no method of catalog",
        ),
        (
            "[rpc.methods.'order.PlaceOrder']\nhedge_after_ms = 5",
            "rpc.methods.\"order.PlaceOrder\".hedge_after_ms needs",
        ),
        ("[rpc.methods.'cart.AddLine']\nfallback = 'empty'", "rpc.methods.\"cart.AddLine\".fallback needs"),
    ] {
        let error = calls(section).expect_err(section);
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn the_command_says_so_and_does_not_run() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mallard"));
    let output = command.arg("config").env("MALLARD_RPC__SERVICES__CATALGO__SLOW_START_MS", "5").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(error.contains("rpc.services.catalgo") && error.contains("identity, inventory, catalog"), "{error}");
}
