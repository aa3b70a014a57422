//! Reports from the mall's own books: orders, refunds, the stock ledger, and the rows set aside. Never from the file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;
use mallard_proto::inventory::v1::ScanLedgerRequest;
use mallard_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use mallard_proto::order::v1::order_service_client::OrderServiceClient;
use mallard_proto::order::v1::{OrderStatus, ScanOrdersRequest};
use mallard_proto::payment::v1::payment_service_client::PaymentServiceClient;
use mallard_proto::payment::v1::{RefundStatus, ScanRefundsRequest};
use mallard_rpc::ServiceChannel;
use mallard_runtime::Mall;

use super::journal::Journal;
use super::replay::Reference;
use super::rows::{Class, NANOS_PER_PENNY, is_product, show_nanos, show_time};

const GUEST: &str = "(guest)";

#[derive(Default)]
struct Invoice {
    customer: String,
    country: String,
    at: Option<i64>,
    rows: BTreeSet<i64>,
    lines: u64,
    units: i64,
    nanos: i128,
    non_product_nanos: i128,
}

#[derive(Default)]
struct Sku {
    rows: BTreeSet<i64>,
    lines: u64,
    sold: i64,
    returned: i64,
    adjusted: i64,
    set_aside: i64,
    sales: i128,
    refunds: i128,
}

#[derive(Default)]
struct Customer {
    orders: BTreeSet<String>,
    cancellations: BTreeSet<String>,
    sales: i128,
    refunds: i128,
}

#[derive(Default)]
struct Books {
    invoices: BTreeMap<(String, &'static str), Invoice>,
    skus: BTreeMap<String, Sku>,
    customers: BTreeMap<String, Customer>,
}

/// One row's worth of a paper, as the books know it.
struct Entry<'a> {
    class: Class,
    invoice: &'a str,
    customer: &'a str,
    country: &'a str,
    at: i64,
    code: &'a str,
    units: i64,
    nanos: i128,
    /// Tells apart the rows of a paper that the books keep in parts; none where each entry is a row.
    row: Option<i64>,
}

impl Books {
    fn add(&mut self, e: Entry<'_>) {
        let invoice = self.invoices.entry((e.invoice.to_owned(), e.class.as_str())).or_default();
        invoice.customer = e.customer.to_owned();
        invoice.country = e.country.to_owned();
        invoice.at = Some(invoice.at.map_or(e.at, |at| at.min(e.at)));
        invoice.units += e.units;
        invoice.nanos += e.nanos;
        if !is_product(e.code) {
            invoice.non_product_nanos += e.nanos;
        }
        let sku = self.skus.entry(e.code.to_owned()).or_default();
        match e.row {
            Some(row) => {
                invoice.rows.insert(row);
                sku.rows.insert(row);
            }
            None => {
                invoice.lines += 1;
                sku.lines += 1;
            }
        }
        let customer =
            self.customers.entry(if e.customer.is_empty() { GUEST } else { e.customer }.to_owned()).or_default();
        match e.class {
            Class::Sale => {
                sku.sold += e.units;
                sku.sales += e.nanos;
                customer.orders.insert(e.invoice.to_owned());
                customer.sales += e.nanos;
            }
            Class::Cancellation => {
                sku.returned += e.units;
                sku.refunds += e.nanos;
                customer.cancellations.insert(e.invoice.to_owned());
                customer.refunds += e.nanos;
            }
            Class::StockAdjustment => sku.adjusted += e.units,
            Class::Accounting => sku.set_aside += e.units,
        }
    }
}

/// Writes `by-invoice.csv`, `by-sku.csv` and `by-customer.csv` into a folder.
///
/// # Errors
/// The books cannot be read or the folder cannot be written.
pub async fn write(mall: &Mall, folder: &Path) -> anyhow::Result<()> {
    let mut books = Books::default();
    crate::up::as_system(async {
        add_orders(mall, &mut books).await?;
        add_refunds(mall, &mut books).await?;
        add_adjustments(mall, &mut books).await
    })
    .await?;
    add_set_aside(mall, &mut books).await?;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    write_invoices(&books, &folder.join("by-invoice.csv"))?;
    write_skus(&books, &folder.join("by-sku.csv"))?;
    write_customers(&books, &folder.join("by-customer.csv"))
}

async fn add_orders(mall: &Mall, books: &mut Books) -> anyhow::Result<()> {
    let mut client: OrderServiceClient<ServiceChannel> = mall.client();
    let mut after_id = String::new();
    loop {
        let request = ScanOrdersRequest { after_id: after_id.clone(), limit: 200 };
        let orders = client.scan_orders(request).await.map_err(mallard_rpc::error)?.into_inner().orders;
        let Some(last) = orders.last() else { return Ok(()) };
        after_id = last.id.clone();
        for order in orders.iter().filter(|order| !order.reference.is_empty()) {
            if matches!(order.status(), OrderStatus::PendingPayment | OrderStatus::Cancelled) {
                continue;
            }
            let country = order.address.as_ref().map_or("", |address| address.country.as_str());
            for line in &order.lines {
                let pennies = line.line_total.as_ref().map_or(0, |m| m.amount);
                books.add(Entry {
                    class: Class::Sale,
                    invoice: &order.reference,
                    customer: &order.customer,
                    country,
                    at: order.created_at.as_ref().map_or(0, |t| t.micros()),
                    code: &line.code,
                    units: line.quantity,
                    nanos: i128::from(pennies) * i128::from(NANOS_PER_PENNY) + i128::from(line.rounding_nanos),
                    row: None,
                });
            }
        }
    }
}

async fn add_refunds(mall: &Mall, books: &mut Books) -> anyhow::Result<()> {
    let mut client: PaymentServiceClient<ServiceChannel> = mall.client();
    let mut after_id = String::new();
    loop {
        let request = ScanRefundsRequest { after_id: after_id.clone(), limit: 500 };
        let refunds = client.scan_refunds(request).await.map_err(mallard_rpc::error)?.into_inner().refunds;
        let Some(last) = refunds.last() else { return Ok(()) };
        after_id = last.id.clone();
        for refund in refunds.iter().filter(|r| !r.reference.is_empty() && r.status() == RefundStatus::Succeeded) {
            for line in &refund.lines {
                books.add(Entry {
                    class: Class::Cancellation,
                    invoice: &refund.reference,
                    customer: &refund.customer,
                    country: &refund.country,
                    at: refund.created_at.as_ref().map_or(0, |t| t.micros()),
                    code: &line.code,
                    units: -line.quantity,
                    nanos: -i128::from(line.amount.as_ref().map_or(0, |m| m.amount)) * i128::from(NANOS_PER_PENNY),
                    row: Some(line.row),
                });
            }
        }
    }
}

async fn add_adjustments(mall: &Mall, books: &mut Books) -> anyhow::Result<()> {
    let mut client: InventoryServiceClient<ServiceChannel> = mall.client();
    let mut after_seq = 0;
    loop {
        let request = ScanLedgerRequest { after_seq, limit: 10_000 };
        let entries = client.scan_ledger(request).await.map_err(mallard_rpc::error)?.into_inner().entries;
        let Some(last) = entries.last() else { return Ok(()) };
        after_seq = last.seq;
        for entry in entries.iter().filter(|entry| entry.kind == "adjusted") {
            let Some(paper) = Reference::parse(&entry.reference) else { continue };
            books.add(Entry {
                class: Class::StockAdjustment,
                invoice: &paper.invoice,
                customer: &paper.customer,
                country: &paper.country,
                at: entry.created_at.as_ref().map_or(0, |t| t.micros()),
                code: &paper.code,
                units: entry.delta,
                nanos: 0,
                row: Some(paper.row),
            });
        }
    }
}

async fn add_set_aside(mall: &Mall, books: &mut Books) -> anyhow::Result<()> {
    let journal = Journal::open(mall.context("order").context("the order service runs elsewhere")?).await?;
    for aside in journal.asides().await? {
        books.add(Entry {
            class: Class::Accounting,
            invoice: &aside.invoice,
            customer: &aside.customer,
            country: &aside.country,
            at: aside.at,
            code: &aside.code,
            units: aside.quantity,
            nanos: i128::from(aside.quantity) * i128::from(aside.price_nanos),
            row: Some(aside.row),
        });
    }
    Ok(())
}

fn write_invoices(books: &Books, path: &Path) -> anyhow::Result<()> {
    let mut out = csv::Writer::from_path(path)?;
    out.write_record([
        "InvoiceNo",
        "Class",
        "CustomerID",
        "Country",
        "FirstTimestamp",
        "Lines",
        "Units",
        "AmountGBP",
        "OfWhichNonProductGBP",
    ])?;
    for ((number, class), i) in &books.invoices {
        let lines = i.lines + i.rows.len() as u64;
        out.write_record([
            number.as_str(),
            class,
            &i.customer,
            &i.country,
            &show_time(i.at.unwrap_or(0)),
            &lines.to_string(),
            &i.units.to_string(),
            &show_nanos(i.nanos),
            &show_nanos(i.non_product_nanos),
        ])?;
    }
    Ok(out.flush()?)
}

fn write_skus(books: &Books, path: &Path) -> anyhow::Result<()> {
    let mut out = csv::Writer::from_path(path)?;
    out.write_record([
        "StockCode",
        "Lines",
        "UnitsSold",
        "UnitsReturned",
        "UnitsStockAdjusted",
        "NetUnits",
        "SalesGBP",
        "RefundsGBP",
    ])?;
    for (code, s) in &books.skus {
        out.write_record([
            code.as_str(),
            &(s.lines + s.rows.len() as u64).to_string(),
            &s.sold.to_string(),
            &s.returned.to_string(),
            &s.adjusted.to_string(),
            &(s.sold + s.returned + s.adjusted + s.set_aside).to_string(),
            &show_nanos(s.sales),
            &show_nanos(s.refunds),
        ])?;
    }
    Ok(out.flush()?)
}

fn write_customers(books: &Books, path: &Path) -> anyhow::Result<()> {
    let mut out = csv::Writer::from_path(path)?;
    out.write_record(["CustomerID", "Orders", "CancellationInvoices", "SalesGBP", "RefundsGBP"])?;
    for (id, c) in &books.customers {
        out.write_record([
            id.as_str(),
            &c.orders.len().to_string(),
            &c.cancellations.len().to_string(),
            &show_nanos(c.sales),
            &show_nanos(c.refunds),
        ])?;
    }
    Ok(out.flush()?)
}
