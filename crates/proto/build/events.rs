//! The event types that the comments of messages name: `// Event order.placed.v1`.

use std::collections::BTreeMap;

use crate::options::{Options, comment, rust_path};

pub fn code(options: &Options) -> String {
    let mut consts = BTreeMap::new();
    let mut code = String::new();
    for message in options.messages() {
        let text = comment(&message.parent_file(), message.path());
        if !text.starts_with("Event ") && !text.starts_with("Events ") {
            continue;
        }
        let kinds: Vec<String> = text
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'))
            .map(|word| word.trim_matches('.').to_owned())
            .filter(|word| is_kind(word))
            .collect();
        let mut names = Vec::new();
        for kind in kinds {
            let name = kind.replace('.', "_").to_uppercase();
            names.push(name.clone());
            consts.insert(name, (kind, message.full_name().to_owned()));
        }
        code += &format!(
            "impl Event for {} {{\n    const KINDS: &'static [&'static str] = &[{}];\n}}\n",
            rust_path(message.full_name()),
            names.join(", ")
        );
    }
    for (name, (kind, message)) in &consts {
        code += &format!("/// `{kind}`, carried by `{message}`.\npub const {name}: &str = \"{kind}\";\n");
    }
    code
}

fn is_kind(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    parts.len() >= 3
        && parts.last().is_some_and(|last| last.strip_prefix('v').is_some_and(|n| n.parse::<u32>().is_ok()))
}
