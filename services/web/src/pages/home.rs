//! The first page: banner, departments, what is new, and a row of each department.

use askama::Template;
use mallard_proto::catalog::v1::{ListProductsRequest, Product};
use mallard_types::Result;

use crate::answer::Answer;
use crate::ask::Ask;
use crate::catalogue::{Directory, category_name};
use crate::view::{Card, Frame, Picture, card, picture};

/// Products the page is made of, read in one call.
const PRODUCTS: i32 = 60;
const FRESH: usize = 8;
const ROW: usize = 4;
const TILE_PICTURES: usize = 3;
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
    fresh: Vec<Card>,
    rows: Vec<Row>,
}

/// Shows the first page.
///
/// # Errors
/// The catalogue's.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let request = ListProductsRequest { limit: PRODUCTS, ..ListProductsRequest::default() };
    let site = &ask.site;
    let (directory, list) =
        ask.public(async { tokio::try_join!(site.catalogue.directory(), site.catalogue.list(request)) }).await?;
    let products = &list.products;
    let mut f = Frame::new(ask, ask.t.home).with_departments(&directory);
    if ask.query.get("done") == "signed-out" {
        f.notice = ask.t.signed_out;
    }
    let mut page = Page {
        f,
        tiles: Vec::new(),
        fresh: products.iter().take(FRESH).map(|product| card(ask, product)).collect::<Result<_>>()?,
        rows: Vec::new(),
    };
    for department in directory.departments() {
        let inside: Vec<&Product> =
            products.iter().filter(|product| stands_in(&directory, product, &department.id)).collect();
        if inside.is_empty() {
            continue;
        }
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

fn stands_in(directory: &Directory, product: &Product, department_id: &str) -> bool {
    product.category_ids.iter().any(|id| directory.line(id).first().is_some_and(|first| first.id == department_id))
}
