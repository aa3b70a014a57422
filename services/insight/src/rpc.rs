//! Proto to domain and back.

use std::sync::Arc;

use mallard_proto::common::v1::{Money as MoneyMessage, RunChecksRequest, RunChecksResponse};
use mallard_proto::insight::v1 as pb;
use mallard_proto::insight::v1::insight_service_server::InsightService;
use mallard_rpc::{status, with_current};
use mallard_types::{Currency, Money};
use tonic::{Request, Response, Status};

use crate::app::{App, Report, Step};
use crate::checks;
use crate::domain::{Day, DaySum, Visits};
use crate::store::Top;

/// Answers the service's RPCs.
pub struct Rpc(Arc<App>);

impl Rpc {
    /// Makes the server of these use cases.
    pub fn new(app: Arc<App>) -> Rpc {
        Rpc(app)
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl InsightService for Rpc {
    async fn get_sales(&self, request: Request<pb::GetSalesRequest>) -> Answer<pb::GetSalesResponse> {
        let pb::GetSalesRequest { from, to, seller, currency } = request.into_inner();
        let (currency, days) = self.0.sales(&Report { from, to, seller, currency }).await.map_err(status)?;
        let mut total = DaySum::default();
        days.iter().for_each(|(_, sum)| total.add(*sum));
        Ok(Response::new(pb::GetSalesResponse {
            days: days.into_iter().map(|(day, sum)| sales_day(day.to_string(), sum, currency)).collect(),
            total: Some(sales_day(String::new(), total, currency)),
        }))
    }

    async fn list_top_products(
        &self,
        request: Request<pb::ListTopProductsRequest>,
    ) -> Answer<pb::ListTopProductsResponse> {
        let pb::ListTopProductsRequest { from, to, seller, currency, limit } = request.into_inner();
        let (currency, top) = self.0.top(&Report { from, to, seller, currency }, limit).await.map_err(status)?;
        let products = top.into_iter().map(|product| top_product(product, currency)).collect();
        Ok(Response::new(pb::ListTopProductsResponse { products }))
    }

    async fn get_funnel(&self, request: Request<pb::GetFunnelRequest>) -> Answer<pb::GetFunnelResponse> {
        let request = request.into_inner();
        let days = self.0.funnel(&request.from, &request.to).await.map_err(status)?;
        let mut total = Step::default();
        for (_, counts) in &days {
            total.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        Ok(Response::new(pb::GetFunnelResponse {
            days: days.into_iter().map(|(day, counts)| funnel_day(day.to_string(), counts)).collect(),
            total: Some(funnel_day(String::new(), total)),
        }))
    }

    async fn count_visits(&self, request: Request<pb::CountVisitsRequest>) -> Answer<()> {
        let request = request.into_inner();
        let visits = Visits {
            batch_id: request.batch_id,
            day: Day::parse(&request.date, "date").map_err(|refusal| status(refusal.into()))?,
            product_views: request.product_views,
            cart_additions: request.cart_additions,
            checkouts: request.checkouts,
        };
        self.0.count_visits(&visits).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn list_best_sellers(
        &self,
        request: Request<pb::ListBestSellersRequest>,
    ) -> Answer<pb::ListBestSellersResponse> {
        let product_ids = self.0.best_sellers(request.into_inner().limit).await.map_err(status)?;
        Ok(Response::new(pb::ListBestSellersResponse { product_ids }))
    }

    async fn run_checks(&self, _: Request<RunChecksRequest>) -> Answer<RunChecksResponse> {
        with_current(|call| call.caller.require_system()).map_err(status)?;
        let mut checks = checks::run(&self.0).await.map_err(status)?;
        checks.extend(self.0.ctx.check_events().await.map_err(status)?);
        Ok(Response::new(RunChecksResponse { checks }))
    }
}

fn sales_day(date: String, sum: DaySum, currency: Currency) -> pb::SalesDay {
    pb::SalesDay {
        date,
        orders: sum.orders,
        units: sum.units,
        revenue: money(sum.revenue, currency),
        refunded: money(sum.refunded, currency),
    }
}

fn top_product(top: Top, currency: Currency) -> pb::TopProduct {
    pb::TopProduct {
        product_id: top.product_id,
        title: top.title,
        units: top.units,
        revenue: money(top.revenue, currency),
    }
}

fn funnel_day(date: String, counts: Step) -> pb::FunnelDay {
    let [product_views, cart_additions, checkouts, placed, paid] = counts;
    pb::FunnelDay { date, product_views, cart_additions, checkouts, placed, paid }
}

fn money(amount: i64, currency: Currency) -> Option<MoneyMessage> {
    Some(Money::new(amount, currency).into())
}
