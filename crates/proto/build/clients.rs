//! Ties the generated clients to the channel of a service, and lists the methods: all of them, and those that may be sent twice.

use std::error::Error;

use crate::options::{Options, dir, rust_path, snake};

/// Answered by every service, so their clients are made for one of them by name.
const OF_EVERY_SERVICE: [&str; 2] = ["mallard.bus.v1.EventIntake", "mallard.platform.v1.PlatformService"];

pub fn code(options: &Options) -> Result<String, Box<dyn Error>> {
    let mut code = String::new();
    let mut methods = String::new();
    let mut idempotent = Vec::new();
    let mut safe = Vec::new();
    for service in options.services() {
        let of_every = OF_EVERY_SERVICE.contains(&service.full_name());
        let answered_by = if of_every { "" } else { dir(service.package_name()) };
        for method in service.methods() {
            methods += &format!(
                "    mallard_rpc::KnownMethod {{ service: \"{answered_by}\", name: \"{}\", safe: {} }},\n",
                method.name(),
                options.idempotent(&method).1
            );
            let line = format!("    \"/{}/{}\",\n", service.full_name(), method.name());
            match options.idempotent(&method) {
                (_, true) => safe.push(line),
                (true, false) => idempotent.push(line),
                (false, false) => {}
            }
        }
        if of_every {
            continue;
        }
        let module = rust_path(service.package_name());
        let path = format!("{module}::{}_client::{}Client", snake(service.name()), service.name());
        code += &format!(
            "impl mallard_rpc::Client for {path}<mallard_rpc::ServiceChannel> {{\n    const SERVICE: &'static str = \"{}\";\n    \
             fn from_channel(channel: mallard_rpc::ServiceChannel) -> Self {{\n        \
             Self::new(channel).max_decoding_message_size(crate::ANSWER_BYTES_MAX)\n    }}\n}}\n",
            dir(service.package_name())
        );
    }
    code += &format!(
        "/// Paths of the methods that change something and may be sent twice (`idempotency_level` in the contract).\n\
         pub static IDEMPOTENT: &[&str] = &[\n{}];\n\
         /// Paths of the methods that change nothing.\n\
         pub static SAFE: &[&str] = &[\n{}];\n\
         /// Every method.\n\
         pub static METHODS: &[mallard_rpc::KnownMethod] = &[\n{methods}];\n",
        idempotent.concat(),
        safe.concat()
    );
    Ok(code)
}
