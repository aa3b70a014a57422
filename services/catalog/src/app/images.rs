//! Pictures: kept under the hash of their bytes, so that the same one twice is one and what is behind an address never changes.

use std::sync::Arc;
use std::time::Duration;

use mallard_types::{Error, Result};
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::{App, Scope, audited};
use crate::domain::{Image, Picture, check_alt, check_images, kept_name, named_format, picture_url};
use crate::error::Refusal;
use crate::store::{ImageRow, Kept, Store};

/// How often a picture is kept again that was removed while it was brought.
const ATTEMPTS_MAX: usize = 3;
/// Unused pictures read at once.
const PAGE_ROWS: usize = 100;

impl App {
    /// Keeps a picture and returns it with its address and size. One that is there already, whoever brought it, is not kept
    /// again and counts for nobody else.
    ///
    /// # Errors
    /// `seller_required`, `images_full`, `image_space_full`, or what its bytes are refused for ([`Picture::read`]).
    pub async fn upload(&self, content: Vec<u8>, alt: String) -> Result<Image> {
        let scope = Scope::of_caller()?;
        check_alt(&alt)?;
        let picture = Picture::read(&content)?;
        let name = format!("{}.{}", hash_of(&content), picture.format.ending());
        let seller_id = self.seller_of(&scope, String::new());
        let (width, height) = (picture.width as i32, picture.height as i32);
        let (images_max, bytes_max) = (self.config.images_per_seller_max, self.config.images_bytes_max);
        let image = Image { url: picture_url(&name), alt, width, height };
        for _ in 0..ATTEMPTS_MAX {
            // Of the real clock: an import of the past does not make it old.
            let now = self.ctx.clock().now();
            let row = ImageRow { name: &name, seller_id: &seller_id, width, height, content: content.clone() };
            let unit = Store::keeping(row, images_max, bytes_max, now);
            let unit = self.ctx.audit().add_to(unit, "image.upload", &name, || audited::image(&image))?;
            match self.store.keep(unit).await? {
                Kept::Done => return Ok(image),
                Kept::Before if self.store.renew_image(&name, now).await? => return Ok(image),
                // It was removed between the two.
                Kept::Before => {}
                Kept::Full => return Err(Refusal::ImagesFull { images_max }.into()),
                Kept::FullOfBytes => return Err(Refusal::ImageSpaceFull { bytes_max }.into()),
            }
        }
        Err(Refusal::Contended.into())
    }

    /// Removes pictures that no product has named for a while; returns how many.
    async fn remove_unnamed(&self) -> Result<usize> {
        let before = self.ctx.clock().now() - self.config.images_unused_s.saturating_mul(1_000_000);
        let mut removed = 0;
        loop {
            let page = self.store.unnamed_images(before, PAGE_ROWS).await?;
            for image in &page {
                removed += usize::from(self.store.remove_image(image, before).await?);
            }
            if page.len() < PAGE_ROWS {
                return Ok(removed);
            }
        }
    }

    /// Returns the bytes and the media type of a picture.
    ///
    /// # Errors
    /// `image_not_found`.
    pub async fn image(&self, name: &str) -> Result<(Vec<u8>, &'static str)> {
        let Some(format) = named_format(name) else { return Err(Refusal::ImageNotFound.into()) };
        match self.store.image(name).await? {
            Some(content) => Ok((content, format.content_type())),
            None => Err(Refusal::ImageNotFound.into()),
        }
    }

    /// Checks that the kept pictures a product names exist, and gives them the size they have.
    ///
    /// # Errors
    /// `image_unknown`, naming the one at fault, or a malformed list.
    pub(super) async fn measure(&self, images: &mut [Image]) -> Result<()> {
        check_images(images)?;
        let names: Vec<&str> = images.iter().filter_map(|image| kept_name(&image.url)).collect();
        if names.is_empty() {
            return Ok(());
        }
        let sizes = self.store.image_sizes(&names).await?;
        for (i, image) in images.iter_mut().enumerate() {
            let Some(name) = kept_name(&image.url) else { continue };
            let Some(size) = sizes.get(name) else { return Err(unknown(format!("images[{i}].url"))) };
            (image.width, image.height) = *size;
        }
        Ok(())
    }
}

/// Refuses a product one of whose pictures was removed while it was saved.
pub(super) fn gone() -> Error {
    unknown("images".to_owned())
}

fn unknown(param: String) -> Error {
    let message = "there is no such picture; upload it first and take the url of the answer";
    Refusal::bad("image_unknown", param, message).into()
}

/// Removes pictures that nobody uses from time to time, until shutdown.
pub async fn remove_images_loop(app: Arc<App>) {
    let shutdown = app.ctx.shutdown();
    let interval = Duration::from_secs(app.config.images_sweep_interval_s.max(1));
    while !shutdown.is_set() {
        match app.remove_unnamed().await {
            Ok(0) => {}
            Ok(removed) => info!(removed, "pictures that no product has named are removed"),
            Err(error) => warn!(%error, "unused pictures were not removed, will try again"),
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = shutdown.wait() => {}
        }
    }
}

fn hash_of(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
