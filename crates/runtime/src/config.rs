//! Configuration in layers: the embedded default file (which is the documentation), a file, the environment, the command line.

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Environment variables with this prefix override the files: `MALLARD_ORDER__PAYMENT_TIMEOUT_S=60`.
pub const ENV_PREFIX: &str = "MALLARD_";

/// A configuration value that cannot be used; the text names the key and what was expected.
#[derive(Debug)]
pub struct ConfigError(pub String);

impl std::error::Error for ConfigError {}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The merged layers.
#[derive(Clone, Debug)]
pub struct Config {
    figment: Figment,
}

impl Config {
    /// Starts with the text of the embedded default file.
    pub fn defaults(toml: &str) -> Config {
        Config { figment: Figment::from(Toml::string(toml)) }
    }

    /// Adds a file that must exist.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn file(self, path: &std::path::Path) -> Result<Config, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|e| ConfigError(format!("config file {}: {e}", path.display())))?;
        Ok(Config { figment: self.figment.merge(Toml::string(&text)) })
    }

    /// Adds the environment: `MALLARD_<SECTION>__<KEY>`.
    pub fn environment(self) -> Config {
        // Names without a section belong to the command line and the tests.
        Config {
            figment: self
                .figment
                .merge(Env::prefixed(ENV_PREFIX).filter(|key| key.as_str().contains("__")).split("__")),
        }
    }

    /// Sets one value, e.g. `set("order.payment_timeout_s", 60)`.
    pub fn set(self, key: &str, value: impl Serialize) -> Config {
        Config { figment: self.figment.merge(Serialized::default(key, value)) }
    }

    /// Refuses sections nobody reads: a slip of the pen must not go unnoticed.
    ///
    /// # Errors
    /// Names the section and those there are.
    pub fn check_sections(&self, known: &[&str]) -> Result<(), ConfigError> {
        let sections: std::collections::BTreeMap<String, figment::value::Value> =
            self.figment.extract().map_err(|e| ConfigError(format!("configuration: {e}")))?;
        match sections.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                Err(ConfigError(format!("there is no config section [{name}]; the sections are {}", known.join(", "))))
            }
            None => Ok(()),
        }
    }

    /// Reads a section; a section nobody wrote has the type's own defaults.
    ///
    /// # Errors
    /// A value of the wrong type, or a key the type does not know.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        let focused = if self.figment.contains(name) { self.figment.focus(name) } else { Figment::new() };
        focused.extract().map_err(|e| ConfigError(format!("config section [{name}]: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        timeout_s: u64,
    }

    impl Default for Sample {
        fn default() -> Self {
            Sample { timeout_s: 5 }
        }
    }

    #[test]
    fn later_layers_win_and_unknown_keys_are_refused() {
        let config = Config::defaults("[order]\ntimeout_s = 10\n[cart]\nwrong = 1");
        assert_eq!(config.section::<Sample>("order").unwrap(), Sample { timeout_s: 10 });
        assert_eq!(
            config.clone().set("order.timeout_s", 20).section::<Sample>("order").unwrap(),
            Sample { timeout_s: 20 }
        );
        assert_eq!(config.section::<Sample>("nothing").unwrap(), Sample { timeout_s: 5 });
        assert!(config.check_sections(&["order", "cart"]).is_ok());
        assert!(config.check_sections(&["order"]).unwrap_err().to_string().contains("[cart]"));
        let error = config.section::<Sample>("cart").unwrap_err().to_string();
        assert!(error.contains("wrong") && error.contains("cart"), "{error}");
    }
}
