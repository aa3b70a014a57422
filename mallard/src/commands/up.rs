//! `mallard up`

use std::process::ExitCode;
use std::time::Instant;

use mallard::demo;
use mallard::folder::{OPERATOR_PASSWORD, SELLER_PASSWORD};
use mallard::up::{self, OPERATOR_EMAIL, Options};
use mallard_runtime::Config;

use super::{UpArgs, stop_requested};

/// Runs the shop until it is asked to stop.
pub async fn run(args: UpArgs, config: Config) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let options = Options { data_dir: args.data_dir, listen: args.listen, demo: !args.no_demo };
    let shop = up::start(&options, config).await?;
    let address = shop.mall.http_addr().unwrap_or(options.listen);
    println!("mallard is open at http://{address}  (started in {} ms)", begun.elapsed().as_millis());
    println!("  REST API    http://{address}/docs");
    println!("  data        {}", shop.folder.path().display());
    if shop.seeded > 0 {
        println!(
            "  demo shop   {} products; cards 4242 4242 4242 4242 (pays), 4000 0000 0000 0002 (declined)",
            shop.seeded
        );
    }
    match &shop.new_password {
        Some(password) => {
            println!(
                "  operator    {OPERATOR_EMAIL}  password {password}  (shown once; also in {}/admin-password)",
                shop.folder.path().display()
            );
        }
        None if shop.folder.has_password(OPERATOR_PASSWORD) => {
            println!("  operator    {OPERATOR_EMAIL}  password in {}/admin-password", shop.folder.path().display());
        }
        None => println!(
            "  operator    there is one; its admin-password file is gone; make another with: mallard ctl user create --role admin"
        ),
    }
    if shop.folder.has_password(SELLER_PASSWORD) {
        println!(
            "  seller      {}  password in {}/seller-password",
            demo::seller_email(),
            shop.folder.path().display()
        );
    }
    println!("  consoles    http://{address}/operator  http://{address}/seller");
    stop_requested().await;
    eprintln!("stopping: finishing what is in flight");
    shop.mall.stop().await;
    Ok(ExitCode::SUCCESS)
}
