//! `mallard ctl`: work on a mall through its own services, on a data folder or a PostgreSQL.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use mallard::folder::Folder;
use mallard::up::as_system;
use mallard_proto::bus::v1::event_intake_client::EventIntakeClient;
use mallard_proto::bus::v1::{ListDeadLettersRequest, RetryDeadLetterRequest};
use mallard_proto::identity::v1::CreateUserRequest;
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_rpc::ServiceChannel;
use mallard_runtime::{Config, Mall, Settings, Storage};

/// Arguments of `mallard ctl`.
#[derive(Args, Debug)]
pub struct CtlArgs {
    /// Data folder of a mall that is not running.
    #[arg(long, default_value = "mallard-data", env = "MALLARD_DATA_DIR")]
    data_dir: PathBuf,
    /// PostgreSQL of a mall, running or not.
    #[arg(long, env = "MALLARD_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Subcommand, Debug)]
enum CtlCommand {
    /// Works on users.
    #[command(subcommand)]
    User(UserCommand),
    /// Works on events that could not be applied.
    #[command(subcommand)]
    Dead(DeadCommand),
}

#[derive(Subcommand, Debug)]
enum UserCommand {
    /// Makes a user; the password is read from MALLARD_NEW_PASSWORD or the command line.
    Create {
        /// E-mail to sign in with.
        #[arg(long)]
        email: String,
        /// Password of 8 to 128 characters.
        #[arg(long, env = "MALLARD_NEW_PASSWORD", hide_env_values = true)]
        password: String,
        /// user, seller or admin; may be repeated.
        #[arg(long = "role", default_value = "user")]
        roles: Vec<String>,
        /// Seller the user acts for.
        #[arg(long, default_value = "")]
        seller_id: String,
    },
}

#[derive(Subcommand, Debug)]
enum DeadCommand {
    /// Lists dead letters of every service.
    List,
    /// Applies one again.
    Retry {
        /// Service that could not apply it.
        service: String,
        /// Its id.
        event_id: String,
    },
}

/// Runs the command.
pub async fn run(args: CtlArgs, config: Config) -> anyhow::Result<ExitCode> {
    let mut folder = None;
    let storage = match &args.database_url {
        Some(url) => Storage::Postgres { url: url.clone(), pool_max: 4 },
        None => Storage::Folder(folder.insert(Folder::take(&args.data_dir)?).path().to_owned()),
    };
    let mall = Mall::start(Settings::new(mallard::services(), config, storage)).await?;
    let done = as_system(execute(&mall, args.command)).await;
    mall.stop().await;
    done
}

async fn execute(mall: &Mall, command: CtlCommand) -> anyhow::Result<ExitCode> {
    match command {
        CtlCommand::User(UserCommand::Create { email, password, roles, seller_id }) => {
            let mut identity: IdentityServiceClient<ServiceChannel> = mall.client();
            let request = CreateUserRequest { email, password, roles, seller_id, ..CreateUserRequest::default() };
            let answer = identity.create_user(request).await.map_err(mallard_rpc::error)?.into_inner();
            let user = answer.user.unwrap_or_default();
            if !answer.created {
                eprintln!("error: {} is taken by {}", user.email, user.id);
                return Ok(ExitCode::FAILURE);
            }
            println!("{} {} {}", user.id, user.email, user.roles.join(","));
        }
        CtlCommand::Dead(DeadCommand::List) => {
            let mut total = 0;
            for service in mall.services() {
                let request = ListDeadLettersRequest { service: service.to_owned(), limit: 100 };
                let answer =
                    intake(mall, service).list_dead_letters(request).await.map_err(mallard_rpc::error)?.into_inner();
                for letter in answer.dead_letters {
                    let event = letter.event.unwrap_or_default();
                    println!(
                        "{service} {} {} {} after {} attempts: {}",
                        event.id, event.r#type, event.key, letter.attempts, letter.reason
                    );
                    total += 1;
                }
            }
            println!("{total} dead letters");
        }
        CtlCommand::Dead(DeadCommand::Retry { service, event_id }) => {
            let request = RetryDeadLetterRequest { service: service.clone(), event_id };
            let answer =
                intake(mall, &service).retry_dead_letter(request).await.map_err(mallard_rpc::error)?.into_inner();
            println!("{}", if answer.applied { "applied" } else { "not applied; it stays a dead letter" });
            return Ok(if answer.applied { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn intake(mall: &Mall, service: &str) -> EventIntakeClient<ServiceChannel> {
    EventIntakeClient::new(mall.channel(service)).max_decoding_message_size(mallard_proto::ANSWER_BYTES_MAX)
}
