//! A seller's first page: what is to do, and what was sold.

use http::StatusCode;
use mallard_proto::catalog::v1::{AdminListProductsRequest, ListProductsResponse, ProductStatus};
use mallard_proto::insight::v1::{GetSalesRequest, GetSalesResponse};
use mallard_proto::order::v1::{ListOrdersResponse, SellerListOrdersRequest};
use mallard_types::Result;

use super::orders::table;
use super::text::Words;
use super::{permit, shell};
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::panel::Panel;
use crate::console::sales;
use crate::console::text::Words as Common;
use crate::console::view::{Block, Page, Part};

const ORDERS: i32 = 5;
const PRODUCTS: i32 = 100;

/// Shows the overview.
///
/// # Errors
/// `forbidden`, `seller_required`.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    permit(ask, "GET", "/seller/v1/products", &[]).await?;
    let (sold, orders, products) = tokio::join!(sales_of(ask), to_ship(ask), products_of(ask));
    let sold = Panel::of(sold)?;
    let currency = if let Panel::Ready(sold) = &sold { sales::currency(sold).to_owned() } else { String::new() };
    let sold = sold.map(|sold| sales::parts(c, w.sales_chart, &sold));
    let orders = Panel::of(orders)?.map(|orders| {
        let all = (ask.link("/seller/orders"), w.all_of_them.to_owned());
        vec![Part::Table(table(ask, &orders.orders, w.no_orders)), Part::Links(vec![all])]
    });
    let products = Panel::of(products)?.map(|products| vec![Part::Figures(figures(w, &products))]);
    let blocks = vec![
        Block::of("sales", sales::heading(w.sales, &currency), sold),
        Block::of("orders", w.orders_to_ship, orders),
        Block::of("todo", w.to_do, products).aside(),
    ];
    let mut page = Page::new(shell(ask, w.overview, "/seller"), blocks);
    if !currency.is_empty() {
        page.filter = Some(sales::choice(ask, "/seller", &currency));
    }
    page.links = vec![(ask.link("/seller/products/new"), w.new_product.to_owned())];
    page.answer(StatusCode::OK)
}

async fn sales_of(ask: &Ask) -> Result<GetSalesResponse> {
    let caller = permit(ask, "GET", "/seller/v1/insight/sales", &[]).await?;
    let request = GetSalesRequest {
        seller: caller.seller_id.clone(),
        currency: sales::wanted(ask).to_owned(),
        ..GetSalesRequest::default()
    };
    let mut client = ask.site.console.insight();
    ask.read(&caller, client.get_sales(request)).await
}

async fn to_ship(ask: &Ask) -> Result<ListOrdersResponse> {
    let caller = permit(ask, "GET", "/seller/v1/orders", &[]).await?;
    let request = SellerListOrdersRequest { to_ship: true, limit: ORDERS, cursor: String::new() };
    let mut client = ask.site.peers.order();
    ask.read(&caller, client.seller_list_orders(request)).await
}

async fn products_of(ask: &Ask) -> Result<ListProductsResponse> {
    let caller = permit(ask, "GET", "/seller/v1/products", &[]).await?;
    let request = AdminListProductsRequest {
        seller: caller.seller_id.clone(),
        limit: PRODUCTS,
        ..AdminListProductsRequest::default()
    };
    let mut client = ask.site.console.catalog();
    ask.read(&caller, client.admin_list_products(request)).await
}

fn figures(w: &'static Words, list: &ListProductsResponse) -> Vec<(&'static str, String, String)> {
    let of = |status: ProductStatus| list.products.iter().filter(move |product| product.status() == status);
    let out = of(ProductStatus::Listed).flat_map(|product| &product.variants).filter(|variant| !variant.in_stock);
    let note = if list.next_cursor.is_empty() { String::new() } else { w.of_newest.to_owned() };
    vec![
        (w.listed, of(ProductStatus::Listed).count().to_string(), note.clone()),
        (w.drafts, of(ProductStatus::Draft).count().to_string(), note.clone()),
        (w.sold_out, out.count().to_string(), note),
    ]
}
