//! Pictures: kept under the hash of their bytes, so that the same one twice is one and what is behind an address never changes.

use mallard_types::Result;
use sha2::{Digest, Sha256};

use super::{App, Scope, audited};
use crate::domain::{Image, Picture, check_alt, check_images, kept_name, named_format, picture_url};
use crate::error::Refusal;
use crate::store::{ImageRow, Kept, Store};

impl App {
    /// Keeps a picture and returns it with its address and size. One that is there already, whoever brought it, is not kept
    /// again and counts for nobody.
    ///
    /// # Errors
    /// `seller_required`, `images_full`, or what its bytes are refused for ([`Picture::read`]).
    pub async fn upload(&self, content: Vec<u8>, alt: String) -> Result<Image> {
        let scope = Scope::of_caller()?;
        check_alt(&alt)?;
        let picture = Picture::read(&content)?;
        let name = format!("{}.{}", hash_of(&content), picture.format.ending());
        let seller_id = self.seller_of(&scope, String::new());
        let (width, height) = (picture.width as i32, picture.height as i32);
        let images_max = self.config.images_per_seller_max;
        let image = Image { url: picture_url(&name), alt, width, height };
        let row = ImageRow { name: &name, seller_id: &seller_id, width, height, content };
        let unit = Store::keeping(row, images_max, self.ctx.now());
        let unit = self.ctx.audit().add_to(unit, "image.upload", &name, || audited::image(&image))?;
        match self.store.keep(unit).await? {
            Kept::Done | Kept::Before => Ok(image),
            Kept::Full => Err(Refusal::ImagesFull { images_max }.into()),
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
            let Some(size) = sizes.get(name) else {
                let message = "there is no such picture; upload it first and take the url of the answer";
                return Err(Refusal::bad("image_unknown", format!("images[{i}].url"), message).into());
            };
            (image.width, image.height) = *size;
        }
        Ok(())
    }
}

fn hash_of(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
