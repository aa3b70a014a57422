//! The chart of sales, of one seller or of the whole mall.

use mallard_proto::common::v1::Money as MoneyMessage;
use mallard_proto::insight::v1::{GetSalesResponse, SalesDay};
use mallard_types::{Currency, Money};

use super::chart::Bar;
use super::form::Input;
use super::text::Words;
use super::view::{Cell, ChartView, Form, Part, Table};
use crate::ask::Ask;
use crate::domain::price;
use crate::view::shown;

/// Currencies a product may be priced in.
pub const CURRENCIES: [&str; 8] = ["CNY", "USD", "EUR", "GBP", "JPY", "HKD", "KRW", "AUD"];

/// Returns the currency whose sums are asked for; empty for the mall's own.
pub fn wanted(ask: &Ask) -> &str {
    let wanted = ask.query.get("currency");
    if CURRENCIES.contains(&wanted) { wanted } else { "" }
}

/// Names the currency sums are in, empty where they say none.
pub fn currency(sales: &GetSalesResponse) -> &str {
    let revenue = sales.total.as_ref().and_then(|total| total.revenue.as_ref());
    revenue.map_or("", |money| money.currency.as_str())
}

/// Writes a heading that says the currency.
pub fn heading(title: &str, currency: &str) -> String {
    if currency.is_empty() { title.to_owned() } else { format!("{title} ({currency})") }
}

/// Makes the choice of the currency: what was sold in others is not among the sums.
pub fn choice(ask: &Ask, page: &str, shown: &str) -> Form {
    let c = Words::of(ask.lang);
    let all = CURRENCIES.into_iter().chain((!CURRENCIES.contains(&shown)).then_some(shown));
    let choices = all.map(|code| (code.to_owned(), code.to_owned())).collect();
    Form {
        action: ask.link(page),
        fields: vec![Input::select("currency", c.currency, shown, choices).required()],
        button: c.show,
        reads: true,
        ..Form::default()
    }
}

/// Shows the sums of a span of days and its chart.
pub fn parts(c: &'static Words, title: &str, sales: &GetSalesResponse) -> Vec<Part> {
    let total = sales.total.clone().unwrap_or_default();
    let currency =
        total.revenue.as_ref().and_then(|money| Currency::parse(&money.currency).ok()).unwrap_or(Currency::CNY);
    let bars: Vec<Bar> = sales.days.iter().map(bar).collect();
    let table = Table {
        caption: title.to_owned(),
        columns: vec![c.date, c.orders, c.units, c.revenue, c.given_back],
        rows: sales.days.iter().rev().map(row).collect(),
        empty: c.none,
    };
    let figures = vec![
        (c.revenue, shown(&total.revenue), String::new()),
        (c.orders, total.orders.to_string(), String::new()),
        (c.units, total.units.to_string(), String::new()),
        (c.given_back, shown(&total.refunded), String::new()),
    ];
    let axis = |value: i64| price(Money::new(value, currency));
    vec![Part::Figures(figures), Part::Chart(ChartView::new("sales-chart", title, &bars, &axis, table, c.hatched))]
}

fn bar(day: &SalesDay) -> Bar {
    let amount = |money: &Option<MoneyMessage>| money.as_ref().map_or(0, |money| money.amount);
    Bar {
        // The year is the same, or nearly: month and day are enough at an axis.
        label: day.date.get(5..).unwrap_or(&day.date).to_owned(),
        value: amount(&day.revenue),
        shown: shown(&day.revenue),
        back: amount(&day.refunded),
        back_shown: shown(&day.refunded),
    }
}

fn row(day: &SalesDay) -> Vec<Cell> {
    vec![
        Cell::text(day.date.clone()),
        Cell::number(day.orders),
        Cell::number(day.units),
        Cell::number(shown(&day.revenue)),
        Cell::number(shown(&day.refunded)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Lang;

    #[test]
    fn the_newest_day_is_on_top_of_the_table_and_at_the_end_of_the_chart() {
        let money = |amount| Some(MoneyMessage { amount, currency: "CNY".into() });
        let day = |date: &str, amount, back| SalesDay {
            date: date.into(),
            orders: 1,
            units: 2,
            revenue: money(amount),
            refunded: money(back),
        };
        let sales = GetSalesResponse {
            days: vec![day("2026-11-20", 9_900, 0), day("2026-11-21", 19_900, 900)],
            total: Some(day("", 29_800, 900)),
        };
        let parts = parts(Words::of(Lang::En), "Sales", &sales);
        let Part::Chart(chart) = &parts[1] else { panic!("a chart") };
        assert_eq!(chart.table.rows[0][0].text, "2026-11-21");
        assert!(chart.svg.contains("11-20: ¥99.00") && chart.svg.contains("¥200.00"));
        assert!(!chart.legend.is_empty());
        let Part::Figures(figures) = &parts[0] else { panic!("figures") };
        assert_eq!(figures[0].1, "¥298.00");
    }
}
