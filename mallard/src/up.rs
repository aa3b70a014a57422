//! From an empty folder to a working shop.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use mallard_proto::identity::v1::CreateUserRequest;
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_rpc::{Call, ServiceChannel};
use mallard_runtime::{Config, Mall, Settings, Storage};

use crate::folder::{Folder, OPERATOR_PASSWORD, SELLER_PASSWORD};
use crate::{demo, services};

/// E-mail of the first operator.
pub const OPERATOR_EMAIL: &str = "admin@mallard.local";

/// What `mallard up` is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where data is kept.
    pub data_dir: PathBuf,
    /// Address of the shop; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether the demo shop is seeded on an empty folder.
    pub demo: bool,
}

/// A running shop on a data folder.
pub struct Shop {
    /// The mall.
    pub mall: Mall,
    /// Its folder.
    pub folder: Folder,
    /// The first operator's password, on the start that made it.
    pub new_password: Option<String>,
    /// Products seeded at this start.
    pub seeded: usize,
}

/// Starts the whole mall in this process on SQLite files.
///
/// # Errors
/// The folder is taken, the address is taken, or a service does not start.
pub async fn start(options: &Options, config: Config) -> anyhow::Result<Shop> {
    let folder = Folder::take(&options.data_dir)?;
    // The folder is this process's alone, so what it remembers of it is true.
    let config = config.set("catalog.shared_trust_ms", 0);
    let mut settings = Settings::new(services(), config, Storage::Folder(options.data_dir.clone()));
    settings.listen = Some(options.listen);
    settings.pages = Some(demo::pages());
    let mall = Mall::start(settings).await?;
    let new_password =
        if folder.has_password(OPERATOR_PASSWORD) { None } else { first_operator(&mall, &folder).await? };
    let seeded =
        if options.demo { as_system(demo::seed(&mall)).await.context("the demo shop cannot be seeded")? } else { 0 };
    if options.demo && !folder.has_password(SELLER_PASSWORD) {
        as_system(demo_sellers(&mall, &folder)).await.context("the demo shop's sellers cannot be made")?;
    }
    if let Some(address) = mall.http_addr() {
        folder.note_address(address)?;
    }
    Ok(Shop { mall, folder, new_password, seeded })
}

/// Runs something as the system itself, the only caller that may import, seed and check.
pub async fn as_system<F: Future>(work: F) -> F::Output {
    mallard_rpc::scope(Call::system("mallard"), work).await
}

/// Makes the first operator; none when there is one whose password nobody wrote down here.
async fn first_operator(mall: &Mall, folder: &Folder) -> anyhow::Result<Option<String>> {
    let (password, is_new) = folder.draft_password(OPERATOR_PASSWORD, new_password)?;
    let mut identity: IdentityServiceClient<ServiceChannel> = mall.client();
    let made = as_system(identity.create_user(CreateUserRequest {
        email: OPERATOR_EMAIL.into(),
        password: password.clone(),
        name: "Operator".into(),
        language: "en".into(),
        roles: vec!["user".into(), "admin".into()],
        seller_id: String::new(),
    }))
    .await
    .map_err(mallard_rpc::error)?
    .into_inner()
    .created;
    // An operator that is there already was made with an old draft by a start that was cut short, or its file was removed.
    if !made && is_new {
        folder.drop_draft(OPERATOR_PASSWORD)?;
        return Ok(None);
    }
    folder.keep_password(OPERATOR_PASSWORD)?;
    Ok(Some(password))
}

/// Makes the accounts of the demo shop's sellers, with one password for all; none where somebody has made them otherwise.
async fn demo_sellers(mall: &Mall, folder: &Folder) -> anyhow::Result<()> {
    let (password, is_new) = folder.draft_password(SELLER_PASSWORD, new_password)?;
    let made = demo::sellers(mall, &password).await?;
    if made == 0 && is_new {
        return folder.drop_draft(SELLER_PASSWORD);
    }
    folder.keep_password(SELLER_PASSWORD)
}

/// Draws a password of 20 characters (100 bits).
fn new_password() -> String {
    const ALPHABET: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";
    let bytes: [u8; 20] = mallard_runtime::Chance::system().bytes();
    bytes.iter().map(|byte| ALPHABET[usize::from(byte % 32)] as char).collect()
}
