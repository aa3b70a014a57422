//! The address book.

use mallard_proto::identity::v1::*;
use mallard_types::Result;

use crate::support::*;

fn lane(number: usize) -> CreateAddressRequest {
    CreateAddressRequest {
        name: "Mei Lin".into(),
        phone: "+86 138 0000 0000".into(),
        country: "CN".into(),
        province: "浙江".into(),
        city: "杭州".into(),
        district: "西湖".into(),
        street: format!("Long Lane {number}\nBack door"),
        postal_code: "01234".into(),
        is_default: false,
    }
}

async fn get(shop: &Shop, who: &Account, id: &str) -> Result<BookAddress> {
    let request = GetAddressRequest { id: id.to_owned() };
    Ok(shop.call(&who.call, |mut c| async move { c.get_address(request).await }).await?.address.unwrap())
}

async fn update(shop: &Shop, who: &Account, request: UpdateAddressRequest) -> Result<BookAddress> {
    Ok(shop.call(&who.call, |mut c| async move { c.update_address(request).await }).await?.address.unwrap())
}

async fn delete(shop: &Shop, who: &Account, id: &str) -> Result<()> {
    let request = DeleteAddressRequest { id: id.to_owned() };
    shop.call(&who.call, |mut c| async move { c.delete_address(request).await }).await
}

async fn defaults(shop: &Shop, who: &Account) -> Vec<String> {
    let all = shop.addresses(who, 100, "").await.unwrap().addresses;
    all.into_iter().filter(|address| address.is_default).map(|address| address.id).collect()
}

#[tokio::test(start_paused = true)]
async fn an_address_survives_the_round_trip_to_the_letter() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let made = shop.create_address(&mei, lane(1)).await.unwrap();
    assert!(mallard_types::id::is("addr", &made.id));
    let read = get(&shop, &mei, &made.id).await.unwrap();
    assert_eq!(read, made);
    let sent = lane(1);
    assert_eq!(
        (read.name, read.phone, read.country, read.province),
        (sent.name, sent.phone, sent.country, sent.province)
    );
    assert_eq!(
        (read.city, read.district, read.street, read.postal_code),
        (sent.city, sent.district, sent.street, "01234".into())
    );
    assert_eq!(shop.addresses(&mei, 0, "").await.unwrap().addresses, [made]);
}

#[tokio::test(start_paused = true)]
async fn there_is_one_default_and_the_first_address_is_it() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let first = shop.create_address(&mei, lane(1)).await.unwrap();
    let second = shop.create_address(&mei, lane(2)).await.unwrap();
    assert_eq!(defaults(&shop, &mei).await, [first.id.as_str()]);
    let third = shop.create_address(&mei, CreateAddressRequest { is_default: true, ..lane(3) }).await.unwrap();
    assert_eq!(defaults(&shop, &mei).await, [third.id]);
    let chosen = UpdateAddressRequest { id: second.id.clone(), is_default: Some(true), ..Default::default() };
    update(&shop, &mei, chosen).await.unwrap();
    assert_eq!(defaults(&shop, &mei).await, [second.id.as_str()]);
    let moved = UpdateAddressRequest { id: second.id.clone(), city: Some("上海".into()), ..Default::default() };
    assert!(update(&shop, &mei, moved).await.unwrap().is_default, "a change of city does not touch the mark");
    delete(&shop, &mei, &second.id).await.unwrap();
    assert_eq!(defaults(&shop, &mei).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_change_touches_only_what_it_names_and_cannot_break_an_address() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let made = shop.create_address(&mei, lane(1)).await.unwrap();
    let request =
        UpdateAddressRequest { id: made.id.clone(), street: Some("Short Lane 2".into()), ..Default::default() };
    let changed = update(&shop, &mei, request).await.unwrap();
    let expected = BookAddress { street: "Short Lane 2".into(), updated_at: changed.updated_at, ..made.clone() };
    assert_eq!(changed, expected);
    let broken = UpdateAddressRequest { id: made.id.clone(), name: Some(" ".into()), ..Default::default() };
    let error = update(&shop, &mei, broken).await.unwrap_err();
    assert_eq!((error.code.as_ref(), error.param.as_deref()), ("required", Some("name")));
    assert_eq!(get(&shop, &mei, &made.id).await.unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_address_does_not_exist() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let eve = shop.register("eve@example.com").await;
    let hers = shop.create_address(&mei, lane(1)).await.unwrap();
    let unknown = get(&shop, &eve, "addr_none").await.unwrap_err();
    let foreign = get(&shop, &eve, &hers.id).await.unwrap_err();
    assert_eq!(seen(&foreign), seen(&unknown));
    assert_eq!(foreign.kind.as_str(), "not_found");
    let request = UpdateAddressRequest {
        id: hers.id.clone(),
        is_default: Some(true),
        city: Some("x".into()),
        ..Default::default()
    };
    assert_eq!(code(update(&shop, &eve, request).await), "address_not_found");
    assert_eq!(code(delete(&shop, &eve, &hers.id).await), "address_not_found");
    assert_eq!(shop.addresses(&eve, 0, "").await.unwrap().addresses, []);
    assert_eq!(get(&shop, &mei, &hers.id).await.unwrap(), hers);
}

#[tokio::test(start_paused = true)]
async fn the_book_holds_fifty_and_is_read_in_pages_newest_first() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    let mut made = Vec::new();
    for number in 0..50 {
        tokio::time::advance(std::time::Duration::from_millis(u64::from(number % 3 == 0))).await;
        made.push(shop.create_address(&mei, lane(number)).await.unwrap());
    }
    let error = shop.create_address(&mei, lane(50)).await.unwrap_err();
    assert_eq!((error.kind.as_str(), error.code.as_ref()), ("refused", "address_book_full"));

    let mut read = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = shop.addresses(&mei, 20, &cursor).await.unwrap();
        assert!(page.addresses.len() <= 20);
        read.extend(page.addresses);
        cursor = page.next_cursor;
        if cursor.is_empty() {
            break;
        }
    }
    made.sort_by_key(|address| std::cmp::Reverse((address.created_at, address.id.clone())));
    assert_eq!(read, made);
    assert_eq!(code(shop.addresses(&mei, 101, "").await), "limit_out_of_range");
    assert_eq!(code(shop.addresses(&mei, 20, "zz").await), "bad_cursor");
    let two_parts_no_number = mallard_types::page::encode_cursor(&["x", "y"]);
    assert_eq!(code(shop.addresses(&mei, 20, &two_parts_no_number).await), "bad_cursor");
}

#[tokio::test(start_paused = true)]
async fn long_texts_and_missing_fields_are_named() {
    let shop = Shop::open().await;
    let mei = shop.register("mei@example.com").await;
    for (request, code, param) in [
        (CreateAddressRequest { street: String::new(), ..lane(1) }, "required", "street"),
        (CreateAddressRequest { country: " ".into(), ..lane(1) }, "required", "country"),
        (CreateAddressRequest { postal_code: "0".repeat(21), ..lane(1) }, "too_long", "postal_code"),
        (CreateAddressRequest { city: "a\u{0}b".into(), ..lane(1) }, "invalid_text", "city"),
    ] {
        let error = shop.create_address(&mei, request).await.unwrap_err();
        assert_eq!((error.code.as_ref(), error.param.as_deref()), (code, Some(param)));
    }
    assert_eq!(shop.count("SELECT COUNT(*) FROM addresses").await, 0);
}
