//! Pictures: kept once, under their hash, for those who may, and named by products only when they exist.

mod common;

use std::option::Option;
use std::sync::Arc;

use common::{ENGINES, Engine, Shop, as_seller, code, named, notebook, shop, shop_with, specs};
use mallard_proto::catalog::v1::*;
use mallard_testkit::{
    as_admin, as_guest, as_stranger, as_system, as_user, audit_records, audited, eventually, patiently,
};
use mallard_types::{Error, Kind};
use sha2::{Digest, Sha256};

const PNG: &[u8] = include_bytes!("pictures/small.png");
const JPEG: &[u8] = include_bytes!("pictures/plain.jpg");
const WEBP: &[u8] = include_bytes!("pictures/lossy.webp");

/// Makes a picture that no other number makes: what follows the end of a PNG is not looked at.
fn numbered(number: u64) -> Vec<u8> {
    [PNG, &number.to_be_bytes()].concat()
}

fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Shop {
    async fn upload(&self, content: &[u8]) -> Result<Image, Error> {
        let request = UploadImageRequest { content: content.to_vec(), alt: "a duck".into() };
        let ask = || async { self.client.clone().upload_image(request.clone()).await.map_err(mallard_rpc::error) };
        Ok(patiently(ask).await?.into_inner().image.unwrap())
    }

    async fn image(&self, name: &str) -> Result<GetImageResponse, Error> {
        let request = GetImageRequest { name: name.into() };
        Ok(self.client.clone().get_image(request).await.map_err(mallard_rpc::error)?.into_inner())
    }

    /// Runs a statement behind the service's back.
    async fn tamper(&self, sql: &'static str) {
        let db = self.mall.context("catalog").unwrap().db();
        db.tx("test.tamper", move |tx| async move { tx.execute(sql, Vec::new()).await }).await.unwrap();
    }
}

fn name_of(url: &str) -> &str {
    url.strip_prefix("/media/up/").unwrap()
}

fn pictured(id: &str, url: &str) -> CreateProductRequest {
    let image = Image { url: url.into(), alt: "a duck".into(), width: 9, height: 9 };
    CreateProductRequest { images: vec![image], ..named(id, "Duck", 990) }
}

async fn small_shop(engine: Engine) -> Option<Shop> {
    shop_with(engine, specs(), |settings| {
        settings.config = common::config().set("catalog.images_per_seller_max", 3);
    })
    .await
}

#[tokio::test]
async fn a_picture_is_kept_under_its_hash_and_comes_back_as_it_was() {
    for engine in ENGINES {
        let Some(shop) = shop(engine).await else { continue };
        for (content, ending, content_type, width, height) in
            [(PNG, "png", "image/png", 3, 2), (JPEG, "jpg", "image/jpeg", 40, 20), (WEBP, "webp", "image/webp", 24, 16)]
        {
            let image = as_seller("sel_1", shop.upload(content)).await.unwrap();
            let url = format!("/media/up/{}.{ending}", hash(content));
            assert_eq!(image, Image { url: url.clone(), alt: "a duck".into(), width, height }, "{engine:?}");
            let kept = as_stranger(shop.image(name_of(&url))).await.unwrap();
            assert_eq!((kept.content.as_slice(), kept.content_type.as_str()), (content, content_type));
        }
        assert_eq!(shop.broken().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_largest_picture_there_may_be_travels_both_ways() {
    for engine in ENGINES {
        let Some(shop) = shop(engine).await else { continue };
        let mut content = PNG.to_vec();
        content.resize(2 * 1024 * 1024, 7);
        let image = as_seller("sel_1", shop.upload(&content)).await.unwrap();
        assert_eq!(shop.image(name_of(&image.url)).await.unwrap().content, content, "{engine:?}");
        content.push(7);
        let error = as_seller("sel_1", shop.upload(&content)).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_ref()), (Kind::Invalid, "image_too_large"));
        assert_eq!(error.param.as_deref(), Some("content"));
    }
}

#[tokio::test]
async fn the_kind_is_what_the_bytes_are() {
    let shop = shop(Engine::Memory).await.unwrap();
    let svg: &[u8] = b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>";
    for (content, expected) in [
        (svg, "image_unsupported"),
        (b"", "image_required"),
        (&PNG[..60], "image_broken"),
        (&JPEG[..400], "image_broken"),
    ] {
        assert_eq!(code(as_seller("sel_1", shop.upload(content))).await, expected);
    }
    let request = UploadImageRequest { content: PNG.to_vec(), alt: "x".repeat(201) };
    let error = as_seller("sel_1", shop.client.clone().upload_image(request)).await.unwrap_err();
    assert_eq!(mallard_rpc::error(error).code, "bad_alt");
}

#[tokio::test]
async fn sellers_and_operators_bring_pictures_and_nobody_else() {
    let shop = shop(Engine::Memory).await.unwrap();
    assert_eq!(code(as_user("usr_1", shop.upload(PNG))).await, "seller_required");
    assert_eq!(code(as_guest(shop.upload(PNG))).await, "seller_required");
    assert_eq!(code(as_stranger(shop.upload(PNG))).await, "seller_required");
    assert_eq!(code(as_admin("usr_1", shop.upload(PNG))).await, "ok");
    for name in [format!("{}.jpg", hash(PNG)), format!("{}.png", hash(JPEG)), "x".into(), String::new()] {
        let error = shop.image(&name).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_ref()), (Kind::NotFound, "image_not_found"), "{name}");
    }
}

#[tokio::test]
async fn the_same_picture_twice_is_one_and_counts_once() {
    for engine in ENGINES {
        let Some(shop) = small_shop(engine).await else { continue };
        let first = as_seller("sel_1", shop.upload(PNG)).await.unwrap();
        for _ in 0..5 {
            assert_eq!(as_seller("sel_1", shop.upload(PNG)).await.unwrap(), first, "{engine:?}");
        }
        for number in 0..2 {
            as_seller("sel_1", shop.upload(&numbered(number))).await.unwrap();
        }
        let error = as_seller("sel_1", shop.upload(&numbered(2))).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_ref()), (Kind::Refused, "images_full"));
        assert_eq!(error.details.unwrap()["images_max"], 3);
        assert_eq!(
            code(shop.image(&format!("{}.png", hash(&numbered(2))))).await,
            "image_not_found",
            "nothing is left"
        );
        assert_eq!(as_seller("sel_1", shop.upload(PNG)).await.unwrap(), first, "what is there is there");
        as_seller("sel_2", shop.upload(&numbered(2))).await.unwrap();
        assert_eq!(code(as_seller("sel_1", shop.upload(&numbered(2)))).await, "ok", "another seller's is there too");
        assert_eq!(shop.broken().await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_at_once_keep_each_picture_once_and_no_more_than_the_limit() {
    for engine in ENGINES {
        let Some(shop) = small_shop(engine).await else { continue };
        let shop = Arc::new(shop);
        let mut uploads = tokio::task::JoinSet::new();
        for i in 0..40 {
            let shop = shop.clone();
            uploads.spawn(async move { as_seller("sel_1", shop.upload(&numbered(i % 8))).await });
        }
        let mut kept = std::collections::BTreeSet::new();
        while let Some(done) = uploads.join_next().await {
            match done.unwrap() {
                Ok(image) => drop(kept.insert(image.url)),
                Err(error) => assert_eq!(error.code, "images_full", "{engine:?}"),
            }
        }
        assert_eq!(kept.len(), 3, "{engine:?}");
        let db = shop.mall.context("catalog").unwrap().db();
        let rows = db.query("SELECT name FROM images", Vec::new()).await.unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(shop.broken().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_product_names_only_pictures_that_exist_and_has_their_size() {
    for engine in ENGINES {
        let Some(shop) = shop(engine).await else { continue };
        let image = as_seller("sel_1", shop.upload(JPEG)).await.unwrap();
        let product = shop.create(pictured("prod_1", &image.url)).await;
        assert_eq!((product.images[0].width, product.images[0].height), (40, 20), "{engine:?}");
        let unknown = format!("/media/up/{}.png", hash(PNG));
        for (url, expected) in [
            (unknown.as_str(), "image_unknown"),
            ("/media/up/x/y.png", "image_unknown"),
            ("/media/up/", "bad_url"),
            ("/media/up/../x.png", "bad_url"),
            (&format!("/media/./up/{}.png", hash(PNG)), "bad_url"),
            ("/auth/v1/logout", "bad_url"),
            (&format!("{}?x", image.url), "bad_url"),
        ] {
            let error = as_admin("usr_1", shop.create_product(pictured("", url))).await.unwrap_err();
            assert_eq!((error.code.as_ref(), error.param.as_deref()), (expected, Some("images[0].url")), "{url}");
        }
        let change = |url: &str| UpdateProductRequest {
            id: "prod_1".into(),
            images: vec![
                Image { url: "/media/elsewhere.png".into(), width: 9, ..Image::default() },
                pictured("", url).images[0].clone(),
            ],
            ..UpdateProductRequest::default()
        };
        let error = as_admin("usr_1", shop.update_product(change(&unknown))).await.unwrap_err();
        assert_eq!((error.code.as_ref(), error.param.as_deref()), ("image_unknown", Some("images[1].url")));
        let images = shop.update(change(&image.url)).await.unwrap().images;
        assert_eq!((images[0].width, images[1].width), (9, 40), "a picture elsewhere is not measured");
        assert_eq!(shop.broken().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_checks_notice_missing_and_miscounted_pictures() {
    for (sql, check) in [
        ("DELETE FROM image_counts", "catalog.images_counted"),
        ("UPDATE image_counts SET images = images + 1", "catalog.images_counted"),
        ("UPDATE image_counts SET bytes = bytes - 1 WHERE seller_id = ''", "catalog.images_counted"),
        ("UPDATE images SET name = 'x'", "catalog.product_images_exist"),
    ] {
        let shop = shop(Engine::Memory).await.unwrap();
        let image = as_seller("sel_1", shop.upload(PNG)).await.unwrap();
        shop.create(pictured("prod_1", &image.url)).await;
        assert_eq!(shop.broken().await, Vec::<String>::new());
        shop.tamper(sql).await;
        assert_eq!(shop.broken().await, [check], "{sql}");
    }
}

#[tokio::test]
async fn an_upload_is_recorded_once() {
    let shop = shop_with(Engine::Memory, specs(), audited).await.unwrap();
    for _ in 0..2 {
        as_seller("sel_1", shop.upload(PNG)).await.unwrap();
    }
    let records = audit_records(&shop.mall, "catalog").await;
    let name = format!("{}.png", hash(PNG));
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].action.as_str(), records[0].target.as_str()), ("image.upload", name.as_str()));
    assert_eq!((&records[0].after["width"], &records[0].after["height"]), (&3.into(), &2.into()));
}

#[tokio::test]
async fn a_product_without_pictures_of_ours_costs_no_look() {
    let shop = shop(Engine::Memory).await.unwrap().at_rest().await;
    let cost = async |request: CreateProductRequest| {
        let before = shop.statements();
        shop.create(request).await;
        shop.statements() - before
    };
    shop.create(notebook()).await;
    let plain = cost(notebook()).await;
    let image = as_seller("sel_1", shop.upload(PNG)).await.unwrap();
    assert_eq!(cost(pictured("prod_1", &image.url)).await, plain + 2);
}

#[tokio::test]
async fn all_pictures_together_take_no_more_room_than_they_may() {
    for engine in ENGINES {
        let room = 2 * numbered(0).len();
        let Some(shop) = shop_with(engine, specs(), |settings| {
            settings.config = common::config().set("catalog.images_bytes_max", room);
        })
        .await
        else {
            continue;
        };
        as_seller("sel_1", shop.upload(&numbered(0))).await.unwrap();
        as_seller("sel_2", shop.upload(&numbered(1))).await.unwrap();
        let error = as_seller("sel_3", shop.upload(&numbered(2))).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_ref()), (Kind::Refused, "image_space_full"), "{engine:?}");
        assert_eq!(error.details.unwrap()["bytes_max"], room);
        assert_eq!(code(as_seller("sel_3", shop.upload(&numbered(1)))).await, "ok", "what is there takes no room");
        assert_eq!(shop.broken().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn pictures_that_no_product_has_named_make_room_after_a_while_and_others_stay() {
    for engine in ENGINES {
        let Some(shop) = shop_with(engine, specs(), |settings| {
            settings.config = common::config()
                .set("catalog.images_per_seller_max", 3)
                .set("catalog.images_sweep_interval_s", 1)
                .set("catalog.images_unused_s", 3_600);
        })
        .await
        else {
            continue;
        };
        let upload = async |number| as_seller("sel_1", shop.upload(&numbered(number))).await.unwrap().url;
        let (named, replaced, unused) = (upload(0).await, upload(1).await, upload(2).await);
        shop.create(pictured("prod_1", &replaced)).await;
        let change = UpdateProductRequest {
            id: "prod_1".into(),
            images: vec![pictured("", &named).images[0].clone()],
            ..UpdateProductRequest::default()
        };
        shop.update(change).await.unwrap();
        assert_eq!(code(as_seller("sel_1", shop.upload(&numbered(3)))).await, "images_full");
        // All are old now, and the last one is brought again.
        shop.tamper("UPDATE images SET created_at = 1 WHERE named = 1").await;
        let there = async |url: &str| code(shop.image(name_of(url))).await;
        upload(2).await;
        shop.tamper("UPDATE images SET created_at = 1").await;
        eventually("the unused picture is removed", async || there(&unused).await == "image_not_found").await;
        // What a product shows stays, and what one has shown: orders show it still.
        assert_eq!((there(&named).await, there(&replaced).await), ("ok".into(), "ok".into()), "{engine:?}");
        let error = as_admin("usr_1", shop.create_product(pictured("", &unused))).await.unwrap_err();
        assert_eq!(error.code, "image_unknown");
        assert_eq!(upload(2).await, unused, "there is room again");
        shop.create(pictured("prod_2", &unused)).await;
        assert_eq!(shop.broken().await, Vec::<String>::new());
    }
}

/// Products begin to name pictures at the moments in which these are removed: either the product is refused, or it stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_is_removed_or_named_and_never_both() {
    for engine in ENGINES {
        let Some(shop) = shop_with(engine, specs(), |settings| {
            settings.config =
                common::config().set("catalog.images_sweep_interval_s", 1).set("catalog.images_unused_s", 0);
        })
        .await
        else {
            continue;
        };
        let (mut named, mut removed) = (0, 0);
        // Forty, and on a machine so slow that every picture was removed before it could be named as many as it takes.
        for number in 0..1_000 {
            if number >= 40 && named > 0 {
                break;
            }
            let url = as_seller("sel_1", shop.upload(&numbered(number))).await.unwrap().url;
            tokio::time::sleep(std::time::Duration::from_millis(number % 2 * 90)).await;
            let product = pictured(&format!("prod_{number}"), &url);
            match as_system(shop.create_product(product)).await {
                Ok(_) => named += 1,
                Err(error) => {
                    assert_eq!(error.code, "image_unknown", "{engine:?}");
                    removed += 1;
                }
            }
        }
        assert!(named > 0 && named + removed >= 40, "{engine:?}: {named} named, {removed} removed");
        eventually("what nobody names is gone", async || {
            let db = shop.mall.context("catalog").unwrap().db();
            db.query("SELECT name FROM images", Vec::new()).await.unwrap().len() == named
        })
        .await;
        assert_eq!(shop.broken().await, Vec::<String>::new());
    }
}
