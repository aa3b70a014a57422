use std::collections::BTreeMap;

use mallard_types::{Currency, Money};
use proptest::prelude::*;

use super::*;
use crate::error::Refusal;

fn input(options: &[(&str, &str)], amount: i64) -> VariantInput {
    VariantInput {
        id: String::new(),
        title: String::new(),
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        price: Money::new(amount, Currency::CNY),
        code: String::new(),
        stock: 5,
    }
}

fn draft(variants: Vec<VariantInput>) -> Draft {
    Draft {
        title: "Notebook".into(),
        description: "To write in".into(),
        status: Status::Listed,
        seller_id: "sel_1".into(),
        category_ids: Vec::new(),
        brand: None,
        images: Vec::new(),
        options: Vec::new(),
        variants,
        translations: BTreeMap::new(),
    }
}

fn create(draft: Draft, rules: Rules) -> Result<(Product, Vec<FirstStock>), Refusal> {
    let mut n = 0;
    Product::create("prod_1".into(), draft, rules, 1_000, &mut || {
        n += 1;
        format!("sku_{n}")
    })
}

fn code(result: Result<(Product, Vec<FirstStock>), Refusal>) -> (&'static str, String) {
    match result {
        Err(Refusal::Bad { code, param, .. }) => (code, param),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_others_read_holds_nothing_that_cannot_be_seen() {
    const TURNED: &str = "Mug \u{202E}gum";
    let good = || draft(vec![input(&[("colour", "red")], 990)]);
    let refused = |change: &dyn Fn(&mut Draft)| {
        let mut draft = good();
        change(&mut draft);
        code(create(draft, Rules::default()))
    };
    let image = Image { url: "/media/1.png".into(), alt: TURNED.into(), ..Image::default() };
    let zh = Translation { title: TURNED.into(), ..Translation::default() };
    let cases: [(&dyn Fn(&mut Draft), &str); 6] = [
        (&|draft| draft.title = TURNED.into(), "title"),
        (&|draft| draft.variants[0].title = TURNED.into(), "variants[0].title"),
        (&|draft| draft.variants[0].code = TURNED.into(), "variants[0].code"),
        (&|draft| draft.variants = vec![input(&[("colour", TURNED)], 990)], "options[0].values"),
        (&|draft| draft.images = vec![image.clone()], "images[0].alt"),
        (&|draft| drop(draft.translations.insert("zh".into(), zh.clone())), "translations.zh.title"),
    ];
    for (change, param) in cases {
        assert_eq!(refused(change), ("invalid_text", param.to_owned()));
    }
    assert_eq!(refused(&|draft| draft.title = "\u{200B}\u{200D}".into()).0, "bad_title", "nothing of it can be seen");
    assert!(check_brand_name("\u{2066}Ink").is_err() && check_alt("\u{200F}").is_err());
    // Emoji and Persian are written with joiners.
    let title = "\u{1F468}\u{200D}\u{1F467} می\u{200C}خواهم".to_owned();
    assert!(create(Draft { title, ..good() }, Rules::default()).is_ok());
    // What was stored before is read, sold and changed in its other parts.
    let (mut old, _) = create(good(), Rules::default()).unwrap();
    old.title = TURNED.into();
    let change = Change { description: Some("new".into()), ..Change::default() };
    assert!(old.change(change, Rules::default(), 2_000, &mut || "sku_9".into()).is_ok());
    assert!(old.with_status(Status::Delisted, 2_000).is_ok());
}

#[test]
fn a_variant_is_shown_in_its_own_picture_where_one_names_it() {
    let variants =
        vec![input(&[("colour", "red")], 990), input(&[("colour", "blue")], 990), input(&[("colour", "oat")], 990)];
    let image = |url: &str, alt: &str| Image { url: url.into(), alt: alt.into(), width: 0, height: 0 };
    let images = vec![image("/media/1.png", "Notebook, red"), image("/media/2.png", "Notebook, blue")];
    let (product, _) = create(Draft { images, ..draft(variants) }, Rules::default()).unwrap();
    let shown = |index: usize| product.picture_of(&product.variants[index]).map(|image| image.url.as_str());
    let (red, blue) = (Some("/media/1.png"), Some("/media/2.png"));
    assert_eq!([shown(0), shown(1), shown(2)], [red, blue, red]);
    let (bare, _) = create(draft(vec![input(&[], 990)]), Rules::default()).unwrap();
    assert_eq!(bare.picture_of(&bare.variants[0]), None);
}

#[test]
fn a_product_begins_at_version_one_with_options_read_off_its_variants() {
    let (product, stock) = create(
        draft(vec![input(&[("size", "S"), ("colour", "red")], 990), input(&[("size", "L"), ("colour", "red")], 1_090)]),
        Rules::default(),
    )
    .unwrap();
    assert_eq!(product.version, 1);
    assert_eq!(product.options[1], ProductOption { name: "size".into(), values: vec!["S".into(), "L".into()] });
    assert_eq!(product.variants[1].title, "red / L");
    assert_eq!(product.min_price(), 990);
    assert!(product.variants.iter().all(|variant| variant.in_stock));
    assert_eq!(
        stock,
        [FirstStock { sku_id: "sku_1".into(), quantity: 5 }, FirstStock { sku_id: "sku_2".into(), quantity: 5 }]
    );
}

#[test]
fn each_broken_rule_names_its_field() {
    let rules = Rules::default();
    let one = || vec![input(&[], 990)];
    let with = |f: &dyn Fn(&mut Draft)| {
        let mut draft = draft(one());
        f(&mut draft);
        code(create(draft, rules))
    };
    assert_eq!(with(&|d| d.title = "  ".into()).1, "title");
    assert_eq!(with(&|d| d.title = "x".repeat(201)).0, "bad_title");
    assert_eq!(with(&|d| d.description = "x".repeat(20_001)).1, "description");
    assert_eq!(with(&|d| d.variants.clear()).0, "bad_variants");
    assert_eq!(with(&|d| d.variants = vec![input(&[], 1); 101]).0, "bad_variants");
    assert_eq!(with(&|d| d.variants[0].price.amount = -1).1, "variants[0].price.amount");
    assert_eq!(with(&|d| d.variants[0].price.amount = 0).0, "bad_price");
    assert_eq!(with(&|d| d.variants[0].stock = -1).1, "variants[0].stock");
    assert_eq!(with(&|d| d.variants.push(input(&[], 5))).0, "variants_alike");
    assert_eq!(with(&|d| d.variants[0].id = "sku_9".into()).0, "variant_unknown");
    assert_eq!(with(&|d| d.status = Status::Deleted).1, "status");
    let image = |url: &str| Image { url: url.into(), ..Image::default() };
    let elsewhere = ["ftp://x/y.png", "//evil/x.png", "x.png", "javascript:alert(1)", "https://x/\"onload", ""];
    let out_of_the_pictures = [
        "/auth/v1/logout",
        "/admin/v1/check?a",
        "/x/../auth/v1/logout",
        "/x/%2E./auth/v1/logout",
        "//auth/v1/logout",
        "/media/",
        "/media/../auth/v1/logout",
        "/media/%2e%2E/auth/v1/logout",
        "/media/./up/0.png",
        "/media//up/0.png",
        "/media/a.png/",
        "/media/a.png?b",
        "/media/a.png#b",
    ];
    for url in elsewhere.into_iter().chain(out_of_the_pictures) {
        assert_eq!(with(&|d| d.images = vec![image(url)]), ("bad_url", "images[0].url".into()), "{url}");
    }
    for url in ["/media/a.png", "/static/image/0.jpeg", "/a.png?v=2", "/图/杯.png", "https://img.example/a.png?w=9"] {
        assert!(create(Draft { images: vec![image(url)], ..draft(one()) }, rules).is_ok(), "{url}");
    }
    assert_eq!(with(&|d| d.images = vec![image("/media/a.png"); 21]).0, "too_many_images");
    assert_eq!(with(&|d| d.translations = [("中".to_owned(), Translation::default())].into()).0, "bad_language");
    let options = |d: &mut Draft| {
        d.options = vec![ProductOption { name: "size".into(), values: vec!["S".into(), "L".into()] }];
    };
    assert_eq!(with(&|d| options(d)).0, "option_missing");
    let sized = |value: &str| input(&[("size", value)], 5);
    assert_eq!(
        with(&|d| {
            options(d);
            d.variants = vec![sized("XL")];
        })
        .0,
        "option_value_unknown"
    );
    assert_eq!(
        with(&|d| {
            options(d);
            d.variants = vec![input(&[("size", "S"), ("colour", "red")], 5)];
        })
        .0,
        "option_unknown"
    );
    assert_eq!(
        with(&|d| {
            d.variants = vec![sized("S"), VariantInput { price: Money::new(5, Currency::GBP), ..sized("L") }];
        })
        .1,
        "variants[1].price.currency"
    );
}

#[test]
fn imports_may_give_things_away_and_choose_ids() {
    let rules = Rules { free_prices: true, own_ids: true };
    let own = VariantInput { id: "sku_85123a".into(), ..input(&[], 0) };
    let (product, _) = create(draft(vec![own.clone()]), rules).unwrap();
    assert_eq!(product.variants[0].id, "sku_85123a");
    let bad = VariantInput { id: "85123A".into(), ..own.clone() };
    assert_eq!(code(create(draft(vec![bad]), rules)).0, "variant_unknown");
    assert!(check_own_id("prod", "prod_85123A.x-1").is_ok());
    for bad in ["", "prod_", "85123A", "sku_85123A", "prod_a b", "prod_é"] {
        assert!(check_own_id("prod", bad).is_err(), "{bad}");
    }
}

#[test]
fn a_change_makes_the_next_version_and_keeps_what_it_does_not_name() {
    let (product, _) =
        create(draft(vec![input(&[("size", "S")], 990), input(&[("size", "L")], 1_090)]), Rules::default()).unwrap();
    let mut new_sku = || "sku_new".to_owned();
    let change = Change { title: Some("Journal".into()), ..Change::default() };
    let (next, stock) = product.change(change, Rules::default(), 2_000, &mut new_sku).unwrap();
    assert_eq!((next.version, next.title.as_str(), next.updated_at), (2, "Journal", 2_000));
    assert_eq!((&next.variants, stock.len()), (&product.variants, 0));

    let kept = VariantInput { id: "sku_2".into(), stock: 99, ..input(&[("size", "L")], 1_200) };
    let change = Change { variants: vec![kept, input(&[("size", "M")], 1_100)], ..Change::default() };
    let (next, stock) = product.change(change, Rules::default(), 2_000, &mut new_sku).unwrap();
    assert_eq!(next.variants.iter().map(|v| v.id.as_str()).collect::<Vec<_>>(), ["sku_2", "sku_new"]);
    assert_eq!(next.variant("sku_2").unwrap().price.amount, 1_200);
    assert_eq!(stock, [FirstStock { sku_id: "sku_new".into(), quantity: 5 }], "an existing variant keeps its stock");
}

#[test]
fn a_deleted_product_does_not_change_any_more() {
    let (product, _) = create(draft(vec![input(&[], 990)]), Rules::default()).unwrap();
    let deleted = product.with_status(Status::Deleted, 2_000).unwrap().unwrap();
    assert_eq!(deleted.version, 2);
    assert_eq!(deleted.with_status(Status::Deleted, 3_000), Ok(None), "deleting twice is done already");
    assert_eq!(deleted.with_status(Status::Listed, 3_000), Err(Refusal::ProductNotFound));
    assert_eq!(product.with_status(Status::Listed, 3_000), Ok(None));
}

fn category(id: &str, slug: &str, parent_id: &str, position: i32) -> Category {
    let (id, slug, parent_id) = (id.to_owned(), slug.to_owned(), parent_id.to_owned());
    Category { id, name: slug.clone(), slug, parent_id, names: BTreeMap::new(), position }
}

#[test]
fn the_tree_is_ordered_and_found_in_any_letter_case() {
    let tree = Tree::new(vec![
        category("cat_3", "shirts", "cat_1", 1),
        category("cat_2", "books", "", 2),
        category("cat_1", "clothes", "", 1),
        category("cat_4", "hats", "cat_1", 0),
    ]);
    let order: Vec<&str> = tree.all().iter().map(|c| c.slug.as_str()).collect();
    assert_eq!(order, ["clothes", "hats", "shirts", "books"]);
    assert_eq!(tree.find("SHIRTS").unwrap().id, "cat_3");
    assert_eq!(tree.find("CAT_2").unwrap().slug, "books");
    assert_eq!(tree.line_of("cat_3"), ["cat_3", "cat_1"]);
    assert!(tree.find("shoes").is_none() && tree.line_of("cat_9").is_empty());
    assert_eq!(check_category(&tree, category("cat_5", "Shirts", "", 0)), Err(Refusal::SlugTaken));
    assert!(check_category(&tree, category("cat_5", "no slug", "", 0)).is_err());
    assert!(check_category(&tree, category("cat_5", "shoes", "cat_9", 0)).is_err());
    assert_eq!(check_category(&tree, category("cat_5", "Shoes", "cat_1", 0)).unwrap().slug, "shoes");
}

#[test]
fn only_known_orders_are_taken() {
    for order in [Order::Newest, Order::Oldest, Order::Price, Order::PriceDown, Order::Title] {
        assert_eq!(Order::parse(order.as_str()), Ok(order));
    }
    assert!(Order::parse("random()").is_err());
}

proptest! {
    #[test]
    fn a_pattern_matches_its_text_literally(q in "[a-c%_\\\\]{1,6}") {
        let filter = Filter::default().with_q(&q).unwrap();
        let pattern = filter.pattern().unwrap();
        // Reads the pattern as SQL does with `ESCAPE '\'`.
        let mut literal = String::new();
        let mut chars = pattern[1..pattern.len() - 1].chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => literal.push(chars.next().unwrap()),
                '%' | '_' => prop_assert!(false, "an unescaped wildcard in {}", pattern),
                other => literal.push(other),
            }
        }
        prop_assert_eq!(literal, q);
    }
}

#[test]
fn a_title_is_in_the_language_asked_for_where_there_is_one() {
    let text = |title: &str| Translation { title: title.into(), ..Translation::default() };
    let translations = [("zh".to_owned(), text("茶罐")), ("de-AT".to_owned(), text("Teedose"))];
    let draft = Draft { title: "Tea tin".into(), translations: translations.into(), ..draft(vec![input(&[], 100)]) };
    let (product, _) = create(draft, Rules::default()).unwrap();
    for (language, title) in [
        ("zh", "茶罐"),
        ("zh-CN", "茶罐"),
        ("ZH", "茶罐"),
        ("DE-at", "Teedose"),
        ("de-AT", "Teedose"),
        ("de", "Tea tin"),
        ("en", "Tea tin"),
        ("", "Tea tin"),
    ] {
        assert_eq!(product.title_in(language), title, "{language:?}");
    }
}
