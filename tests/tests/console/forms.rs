//! Forms of the consoles that lose nothing, count once and say what is wrong where it is wrong.

use super::*;

fn borrowed(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Puts a draft up for sale; returns its first SKU.
async fn listed(browser: &mut Browser, path: &str) -> String {
    let page = browser.get(path).await.expect(200);
    let version = hidden_of(&page, &format!("{path}/list"), "version");
    browser.post(&format!("{path}/list"), &[("version", &version)]).await.expect(303);
    page.hidden("variants[0].id")
}

#[tokio::test]
async fn units_given_back_before_they_were_sent_are_not_to_be_sent() {
    let shop = Shop::start().await;
    let mut grace = seller(&shop, "sel_grace").await;
    let path = draft(&mut grace, "Harbour mug").await;
    let sku = listed(&mut grace, &path).await;
    let order = text(&shop.shopper().await.buy(&sku, 3, PRICE * 3).await["id"]);
    let mut admin = operator(&shop).await;
    let desk = format!("/operator/orders/{order}");
    let page = admin.get(&desk).await.expect(200);
    let refund = format!("{desk}/refund");
    let (version, key) = (hidden_of(&page, &refund, "version"), hidden_of(&page, &refund, "key"));
    let back = format!("back.{sku}");
    let fields = [
        ("version", &*version),
        ("key", &*key),
        ("currency", "CNY"),
        ("amount", "9.90"),
        ("reason", "one less"),
        (&*back, "1"),
    ];
    // More than there are is refused beside the line, the wrong line of none.
    let mut many = fields;
    many[5].1 = "9";
    let refused = admin.post(&refund, &many).await.expect(422);
    assert!(refused.has(&format!("id=\"e-{back}\"")), "{}", refused.body);
    admin.post(&refund, &fields).await.expect(303);
    // The same key with another amount is another refund, and is not taken for the one that was made.
    let mut other = fields;
    other[3].1 = "19.80";
    let refused = admin.post(&refund, &other).await.expect(422);
    assert!(refused.has("This form was used for something else."), "{}", refused.body);
    admin.post(&refund, &fields).await.expect(303);
    assert_eq!(shop.order(&order).await["refunded"]["amount"], PRICE);

    let ship = format!("ship.{sku}");
    let field = format!("id=\"f-{ship}\" name=\"{ship}\" type=\"text\" value=\"2\"");
    let desk_page = admin.get(&desk).await.expect(200);
    assert!(desk_page.has(&field) && desk_page.has("(of 2)"), "{}", desk_page.body);
    let out = format!("/seller/orders/{order}");
    let page = grace.get(&out).await.expect(200);
    assert!(page.has(&field), "{}", page.body);
    let version = hidden_of(&page, &format!("{out}/ship"), "version");
    let send = |units: &'static str, number: &'static str| {
        [
            ("version", version.clone()),
            ("carrier", "SF".into()),
            ("tracking_number", number.into()),
            (&*ship, units.into()),
        ]
    };
    let post = async |browser: &mut Browser, path: String, fields: [(&str, String); 4]| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.post(&path, &fields).await
    };
    // A parcel without a number cannot be told from another one.
    for (browser, path) in [(&mut grace, format!("{out}/ship")), (&mut admin, format!("{desk}/ship"))] {
        let refused = post(browser, path.clone(), send("2", " ")).await.expect(422);
        assert!(refused.has("id=\"e-tracking_number\""), "{}", refused.body);
        let refused = post(browser, path, send("9", "SF1")).await.expect(409);
        assert!(
            refused.has(&format!("id=\"e-{ship}\"")) && refused.has("units that are there to send"),
            "{}",
            refused.body
        );
    }
    post(&mut grace, format!("{out}/ship"), send("2", "SF1")).await.expect(303);
    let again = post(&mut grace, format!("{out}/ship"), send("2", "SF1")).await.expect(409);
    assert!(again.has("perhaps by you in another tab or by this very form"), "{}", again.body);
    shop.order_is(&order, "shipped").await;
    let page = grace.get(&out).await.expect(200);
    assert!(page.has("Everything of yours is on its way.") && !page.has(&ship), "{}", page.body);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test]
async fn a_sent_unit_that_broke_takes_none_of_those_to_be_sent() {
    let shop = Shop::start().await;
    let mut grace = seller(&shop, "sel_grace").await;
    let path = draft(&mut grace, "Harbour mug").await;
    let sku = listed(&mut grace, &path).await;
    let order = text(&shop.shopper().await.buy(&sku, 3, PRICE * 3).await["id"]);
    let (desk, ship, back) = (format!("/operator/orders/{order}"), format!("ship.{sku}"), format!("back.{sku}"));
    let mut admin = operator(&shop).await;
    let page = admin.get(&desk).await.expect(200);
    assert!(!page.has("name=\"units\""), "nothing was sent: {}", page.body);
    let version = hidden_of(&page, &format!("{desk}/ship"), "version");
    let parcel = [("version", &*version), ("carrier", "SF"), ("tracking_number", "SF1"), (&*ship, "1")];
    admin.post(&format!("{desk}/ship"), &parcel).await.expect(303);

    let page = admin.get(&desk).await.expect(200);
    assert!(!page.has(&format!("{desk}/deliver")), "what is not sent cannot be delivered: {}", page.body);
    let refund = format!("{desk}/refund");
    let (version, key) = (hidden_of(&page, &refund, "version"), hidden_of(&page, &refund, "key"));
    let fields = [
        ("version", &*version),
        ("key", &*key),
        ("currency", "CNY"),
        ("amount", "9.90"),
        ("reason", "broken on its way"),
        (&*back, "1"),
        ("units", "sent"),
    ];
    admin.post(&refund, &fields).await.expect(303);
    shop.order_is(&order, "partially_shipped").await;
    let page = admin.get(&desk).await.expect(200);
    assert!(page.has(&format!("id=\"f-{ship}\" name=\"{ship}\" type=\"text\" value=\"2\"")), "{}", page.body);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test]
async fn a_parcel_whose_answer_was_lost_is_not_sent_twice() {
    let (shop, watch) = watched().await;
    let mut grace = seller(&shop, "sel_grace").await;
    let path = draft(&mut grace, "Harbour mug").await;
    let sku = listed(&mut grace, &path).await;
    let order = text(&shop.shopper().await.buy(&sku, 3, PRICE * 3).await["id"]);
    let out = format!("/seller/orders/{order}");
    let ship = format!("{out}/ship");
    let version = hidden_of(&grace.get(&out).await.expect(200), &ship, "version");
    let units = format!("ship.{sku}");
    let send = |version: &str| {
        [
            ("version", version.to_owned()),
            ("carrier", "SF".into()),
            ("tracking_number", "SF1".into()),
            (&*units, "1".into()),
        ]
        .map(|(name, value): (&str, String)| (name.to_owned(), value))
    };
    *watch.silent.lock() = vec!["SellerShipOrder"];
    let unknown = grace.post(&ship, &borrowed(&send(&version))).await.expect(503);
    *watch.silent.lock() = Vec::new();
    assert_eq!(hidden_of(&unknown, &ship, "version"), version, "the form is the one that was sent: {}", unknown.body);
    let mut again = send(&hidden_of(&unknown, &ship, "version"));
    again[2].1 = "SF2".into();
    grace.post(&ship, &borrowed(&again)).await.expect(409);
    assert_eq!(shop.order(&order).await["lines"][0]["shipped"], 1);
    shop.stop().await;
}

#[tokio::test]
async fn a_form_of_a_hundred_variants_and_six_options_is_read_whole() {
    const OPTIONS: usize = 6;
    let shop = Shop::start().await;
    let mut grace = seller(&shop, "sel_grace").await;
    let key = grace.get("/seller/products/new").await.expect(200).hidden("key");
    let texts = [("title", "Harbour mug"), ("currency", "CNY")];
    let mut rows: Vec<(String, String)> = Vec::new();
    rows.extend((0..OPTIONS).map(|j| (format!("option{j}"), format!("Option {j}"))));
    for i in 0..100 {
        rows.extend((0..OPTIONS).map(|j| (format!("variants[{i}].o{j}"), format!("value {i}"))));
        for (field, value) in [("price", "9.90"), ("code", ""), ("stock", "1"), ("id", ""), ("title", "")] {
            rows.push((format!("variants[{i}].{field}"), value.to_owned()));
        }
    }
    assert!(rows.len() > 1_000);
    let form = |key: &str| {
        let mut fields = vec![("key".to_owned(), key.to_owned())];
        fields.extend(texts.map(|(name, value)| (name.to_owned(), value.to_owned())));
        fields.extend(rows.clone());
        fields
    };
    let made = grace.post("/seller/products/new", &borrowed(&form(&key))).await.expect(303);
    let path = made.location.split('?').next().expect("a path").to_owned();
    let count = async || {
        let product = shop.admin.get(&format!("/admin/v1/products/{}", id_of(&path))).await.expect(200);
        product.body["product"]["variants"].as_array().expect("variants").len()
    };
    assert_eq!(count().await, 100);
    // Saved unchanged, as the page shows it.
    let page = grace.get(&path).await.expect(200);
    let mut fields = vec![("version".to_owned(), hidden_of(&page, &format!("{path}/variants"), "version"))];
    fields.extend(rows.iter().filter(|(name, _)| !name.ends_with(".id")).cloned());
    fields.extend((0..100).map(|i| (format!("variants[{i}].id"), page.hidden(&format!("variants[{i}].id")))));
    grace.post(&format!("{path}/variants"), &borrowed(&fields)).await.expect(303);
    assert_eq!(count().await, 100);
    // What is beyond the limit is refused as a whole.
    let version = hidden_of(&grace.get(&path).await.expect(200), &format!("{path}/variants"), "version");
    fields[0].1 = version;
    fields.extend((0..4_000).map(|i| (format!("x{i}"), String::new())));
    grace.post(&format!("{path}/variants"), &borrowed(&fields)).await.expect(413);
    assert_eq!(count().await, 100);
    shop.stop().await;
}

#[tokio::test]
async fn texts_as_long_as_they_may_be_are_saved_and_shelves_are_not_lost() {
    let shop = Shop::start().await;
    let shelf = async |name: &str, parent: &str| {
        let shelf = json!({ "name": name, "slug": unique(&name.to_lowercase()), "parent_id": parent });
        text(&shop.admin.post("/admin/v1/categories", shelf).await.expect(201).body["category"]["id"])
    };
    let home = shelf("Home", "").await;
    shelf("Mugs", &home).await;
    let mut grace = seller(&shop, "sel_grace").await;
    let path = draft(&mut grace, "Harbour mug").await;
    let long = "港".repeat(20_000);
    let checked = format!("value=\"{home}\" checked");
    let version = hidden_of(&grace.get(&path).await.expect(200), &path, "version");
    let texts = [
        ("title", "Harbour mug"),
        ("title_zh", "杯"),
        ("description", &*long),
        ("description_zh", &*long),
        ("shelves", "1"),
    ];
    let with = |version: &str, shelves: &[&str]| {
        let mut fields: Vec<(String, String)> = vec![("version".into(), version.into())];
        fields.extend(texts.map(|(name, value)| (name.to_owned(), value.to_owned())));
        fields.extend(shelves.iter().map(|id| ("category".to_owned(), (*id).to_owned())));
        fields
    };
    grace.post(&path, &borrowed(&with(&version, &[&home]))).await.expect(303);
    let page = grace.get(&path).await.expect(200);
    // The shelf it stands on has a box, although there is one below it.
    assert!(page.has(&checked) && page.has(&long));
    let version = hidden_of(&page, &path, "version");
    let refused = grace.post(&path, &borrowed(&with(&version, &[]))).await.expect(422);
    assert!(refused.has("id=\"e-picks\""), "{}", refused.body);
    assert!(grace.get(&path).await.expect(200).has(&checked));
    let mut huge = with(&version, &[&home]);
    huge.push(("note".into(), "x".repeat(600 * 1024)));
    grace.post(&path, &borrowed(&huge)).await.expect(413);
    shop.stop().await;
}

#[tokio::test]
async fn a_form_that_was_sent_before_is_done_and_another_one_under_its_key_is_not() {
    let shop = Shop::start().await;
    let mut grace = seller(&shop, "sel_grace").await;
    let key = grace.get("/seller/products/new").await.expect(200).hidden("key");
    let made = |title: &'static str| {
        [("key", key.clone()), ("title", title.into()), ("currency", "CNY".into()), ("variants[0].price", "1".into())]
            .map(|(name, value): (&str, String)| (name.to_owned(), value))
    };
    let first = grace.post("/seller/products/new", &borrowed(&made("First"))).await.expect(303);
    let refused = grace.post("/seller/products/new", &borrowed(&made("Second"))).await.expect(422);
    assert!(
        refused.has("This form was used for something else.") && refused.has("value=\"Second\""),
        "{}",
        refused.body
    );
    let again = grace.post("/seller/products/new", &borrowed(&made("First"))).await.expect(303);
    assert_eq!(first.location, again.location);

    let path = draft(&mut grace, "Harbour mug").await;
    let version = hidden_of(&grace.get(&path).await.expect(200), &format!("{path}/list"), "version");
    for _ in 0..2 {
        grace.post(&format!("{path}/list"), &[("version", &version)]).await.expect(303);
    }
    // What is not as the form wanted it is refused.
    grace.post(&format!("{path}/delist"), &[("version", &version)]).await.expect(409);
    shop.stop().await;
}

#[tokio::test]
async fn a_form_that_is_refused_asks_others_no_more_than_a_page() {
    let (shop, watch) = watched().await;
    let mut grace = seller(&shop, "sel_grace").await;
    let path = draft(&mut grace, "Harbour mug").await;
    let sku = listed(&mut grace, &path).await;
    let order = text(&shop.shopper().await.buy(&sku, 1, PRICE).await["id"]);
    let ben = shop.user_with(&["user"]).await;
    let mut admin = operator(&shop).await;
    let check = |what: &str| {
        let calls = watch.take();
        // The stock asks the catalogue whose a SKU is, and identity is told who asks; that is their own.
        let own = calls.iter().filter(|((service, method), _)| {
            !(what.contains("stock") && service == "catalog" && method == "BatchGetSkus")
        });
        let count: u32 = own.map(|(_, count)| count).sum();
        assert!(count <= 3, "{what} made {count} calls: {calls:?}");
    };
    let texts = [("version", "0"), ("title", "x"), ("title_zh", "杯")];
    let variant = [("version", "0"), ("option0", ""), ("variants[0].price", "1")];
    let long = "m".repeat(300);
    let stock = [("key", "k"), ("delta", "-900"), ("reason", "count")];
    for (form, fields) in [
        (path.clone(), &texts[..]),
        (format!("{path}/variants"), &variant[..]),
        (format!("{path}/delist"), &[("version", "0")][..]),
        (format!("/seller/stock/{sku}"), &stock[..]),
        (format!("/seller/orders/{order}/ship"), &[("version", "0"), ("carrier", "SF"), ("tracking_number", "1")][..]),
    ] {
        watch.take();
        let status = grace.post(&form, fields).await.status;
        assert!((409..=422).contains(&status), "{form}: {status}");
        check(&form);
    }
    watch.take();
    let version = hidden_of(&grace.get(&path).await.expect(200), &format!("{path}/pictures/add"), "version");
    watch.take();
    let fields = [("version", version.as_str()), ("alt", &*long)];
    assert_eq!(upload(&shop, &grace, &format!("{path}/pictures/add"), &fields, PNG).await, 422);
    check("a picture");
    let user = format!("/operator/users/{}", ben.id);
    admin.get(&user).await.expect(200);
    for (form, fields) in [
        (format!("{user}/ban"), &[("level", "none"), ("reason", "x"), ("_password", PASSWORD)][..]),
        (format!("{user}/roles"), &[("roles", "user nobody"), ("_password", PASSWORD)][..]),
        ("/operator/roles".to_owned(), &[("name", "clerk"), ("inherits", "nobody"), ("_password", PASSWORD)][..]),
        ("/operator/allow-list".to_owned(), &[("version", "0"), ("paths", "/x/*"), ("_password", PASSWORD)][..]),
        ("/operator/keys".to_owned(), &[("kid", "none"), ("_password", PASSWORD)][..]),
    ] {
        watch.take();
        let status = admin.post(&form, fields).await.status;
        assert!((409..=422).contains(&status), "{form}: {status}");
        check(&form);
    }
    shop.stop().await;
}
