//! Use cases, one function each.

use std::collections::{BTreeMap, BTreeSet};

use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_rpc::{ServiceChannel, Surface};
use mallard_runtime::Context;
use mallard_types::{Currency, Micros, Result};

use crate::config::Config;
use crate::domain::{self, Limits, Quote, Shipping, Wanted};
use crate::listing;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Answers questions about prices.
pub struct App {
    ctx: Context,
    catalog: CatalogServiceClient<ServiceChannel>,
    shipping: BTreeMap<Currency, Shipping>,
    quote_lifetime_micros: i64,
}

impl App {
    /// Makes the application from its settings.
    ///
    /// # Errors
    /// A shipping section whose name is no currency, or a negative fee.
    pub fn new(ctx: Context, config: Config) -> anyhow::Result<App> {
        let mut shipping = BTreeMap::new();
        for (code, rule) in &config.shipping {
            let currency = Currency::parse(code)?;
            anyhow::ensure!(rule.fee_minor >= 0, "promotion.shipping.{code}.fee_minor must not be negative");
            shipping.insert(currency, Shipping { fee_minor: rule.fee_minor, free_from_minor: rule.free_from_minor });
        }
        Ok(App {
            catalog: ctx.client(),
            shipping,
            quote_lifetime_micros: i64::from(config.quote_lifetime_s) * MICROS_PER_SECOND,
            ctx,
        })
    }

    /// Prices a basket; returns the quote and the time it is good until.
    ///
    /// # Errors
    /// The refusals of [`domain::Refusal`]; `Unavailable` when the catalog is away.
    pub async fn quote(&self, mut wanted: Vec<Wanted>, coupon_codes: &[String]) -> Result<(Quote, Micros)> {
        let caller = mallard_rpc::current().caller;
        if !caller.is_system() {
            for want in &mut wanted {
                want.agreed_unit_nanos = None;
            }
        }
        let limits = if caller.surface == Surface::Store { Limits::STORE } else { Limits::INTERNAL };
        domain::check(&wanted, coupon_codes.len(), limits)?;

        let sku_ids: BTreeSet<&str> = wanted.iter().map(|want| want.sku_id.as_str()).collect();
        let sku_ids = sku_ids.into_iter().map(str::to_owned).collect();
        let listings = listing::fetch(self.catalog.clone(), sku_ids).await?;
        let quote =
            domain::quote(&wanted, &listings, |currency| self.shipping.get(&currency).copied().unwrap_or_default())?;
        Ok((quote, self.ctx.now() + self.quote_lifetime_micros))
    }
}
