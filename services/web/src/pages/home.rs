//! The first page: banners, departments, what sells best, what is new, and a row of each department.

use askama::Template;
use mallard_proto::catalog::v1::{ListProductsRequest, Product};
use mallard_types::{Money, Result};

use crate::answer::Answer;
use crate::ask::Ask;
use crate::catalogue::{Directory, category_name};
use crate::domain::{round_up, short, typed};
use crate::site::Site;
use crate::text::fill;
use crate::view::{Card, Frame, Picture, card, picture, variant_price};

/// Products the page is made of, read in one call.
const PRODUCTS: i32 = 60;
const FRESH: usize = 8;
const ROW: usize = 4;
/// Best sellers shown, of at least as many as fill half a row.
const BEST: usize = 8;
const BEST_MIN: usize = 2;
const TILE_PICTURES: usize = 3;
/// Products of the banner for small presents: with fewer there is none.
const PRESENTS: usize = 4;
/// Shelves named on a department's tile.
const TILE_SHELVES: usize = 3;

struct Tile {
    href: String,
    name: String,
    below: String,
    pictures: Vec<Picture>,
}

struct Row {
    name: String,
    href: String,
    cards: Vec<Card>,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Page {
    f: Frame,
    tiles: Vec<Tile>,
    best: Vec<Card>,
    presents: Option<Presents>,
    fresh: Vec<Card>,
    rows: Vec<Row>,
}

/// A banner: what the cheapest third of the shop costs at most.
struct Presents {
    title: String,
    href: String,
    pictures: Vec<Picture>,
}

/// Shows the first page.
///
/// # Errors
/// The catalogue's.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let request = ListProductsRequest { limit: PRODUCTS, ..ListProductsRequest::default() };
    let site = &ask.site;
    // Which sell best is known or not; no page waits for it.
    let (directory, list, best) = ask
        .public(async {
            tokio::try_join!(site.catalogue.directory(), site.catalogue.list(request), best_sellers(site))
        })
        .await?;
    let products = &list.products;
    let mut f = Frame::new(ask, ask.t.home).with_departments(&directory);
    if ask.query.get("done") == "signed-out" {
        f.notice = ask.t.signed_out;
    } else if ask.query.get("done") == "deleted" {
        f.notice = ask.t.account_deleted;
    }
    let mut page = Page {
        f,
        tiles: Vec::new(),
        best: if best.len() < BEST_MIN {
            Vec::new()
        } else {
            best.iter().map(|product| card(ask, product)).collect::<Result<_>>()?
        },
        presents: presents(ask, products)?,
        fresh: products.iter().take(FRESH).map(|product| card(ask, product)).collect::<Result<_>>()?,
        rows: Vec::new(),
    };
    for department in directory.departments() {
        let inside: Vec<&Product> =
            products.iter().filter(|product| stands_in(&directory, product, &department.id)).collect();
        let href = ask.link(&format!("/c/{}", department.slug));
        let name = category_name(department, ask.lang).to_owned();
        let shelves: Vec<&str> =
            directory.below(&department.id).take(TILE_SHELVES).map(|shelf| category_name(shelf, ask.lang)).collect();
        page.tiles.push(Tile {
            href: href.clone(),
            name: name.clone(),
            below: shelves.join(" · "),
            pictures: inside.iter().take(TILE_PICTURES).map(|product| picture(product, 0, "")).collect(),
        });
        // What is shown as new already is not shown twice.
        let rest = products.iter().skip(FRESH).filter(|product| stands_in(&directory, product, &department.id));
        let cards: Vec<Card> = rest.take(ROW).map(|product| card(ask, product)).collect::<Result<_>>()?;
        if !cards.is_empty() {
            page.rows.push(Row { name, href, cards });
        }
    }
    Answer::page(&page)
}

/// Returns the best sellers that can be bought.
async fn best_sellers(site: &Site) -> Result<Vec<Product>> {
    let row = site.catalogue.row(site.best.ids()).await?;
    let good = row.iter().filter(|product| product.variants.iter().any(|variant| variant.in_stock));
    Ok(good.take(BEST).cloned().collect())
}

/// Makes the banner of small presents out of what there is.
fn presents(ask: &Ask, products: &[Product]) -> Result<Option<Presents>> {
    let mut priced: Vec<(Money, &Product)> = Vec::new();
    for product in products {
        let mut prices = Vec::with_capacity(product.variants.len());
        for variant in product.variants.iter().filter(|variant| variant.in_stock) {
            prices.push(variant_price(variant)?);
        }
        priced.extend(prices.into_iter().min_by_key(|money| money.amount).map(|lowest| (lowest, product)));
    }
    priced.sort_by_key(|(money, product)| (money.amount, product.id.clone()));
    let Some((third, _)) = priced.get(priced.len() / 3).filter(|_| priced.len() / 3 >= PRESENTS) else {
        return Ok(None);
    };
    let most = Money::new(round_up(third.amount), third.currency);
    // Not the very cheapest: pictures of things people give.
    let below = priced.iter().take(priced.len() / 3).rev().take(PRESENTS);
    Ok(Some(Presents {
        title: fill(ask.t.presents_title, short(most)),
        href: ask.link(&format!("/search?sort=price&max={}&stock=1", typed(most))),
        pictures: below.map(|(_, product)| picture(product, 0, "")).collect(),
    }))
}

fn stands_in(directory: &Directory, product: &Product, department_id: &str) -> bool {
    product.category_ids.iter().any(|id| directory.line(id).first().is_some_and(|first| first.id == department_id))
}
