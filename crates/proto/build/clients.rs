//! Ties the generated clients to the channel of a service, and lists the methods that may be sent twice.

use std::error::Error;

use crate::options::{Options, dir, rust_path, snake};

pub fn code(options: &Options) -> Result<String, Box<dyn Error>> {
    let mut code = String::new();
    let mut idempotent = Vec::new();
    for service in options.services() {
        for method in service.methods() {
            if options.idempotent(&method).0 {
                idempotent.push(format!("    \"/{}/{}\",\n", service.full_name(), method.name()));
            }
        }
        // Answered by every service, so their clients are made for one of them by name.
        if ["mallard.bus.v1.EventIntake", "mallard.platform.v1.PlatformService"].contains(&service.full_name()) {
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
        "/// Paths of the methods that may be sent twice (`idempotency_level` in the contract).\n\
         pub static IDEMPOTENT: &[&str] = &[\n{}];\n",
        idempotent.concat()
    );
    Ok(code)
}
