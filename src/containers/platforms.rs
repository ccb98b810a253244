//! Several images as one for several platforms: an index (image-spec, image-index.md).

use std::collections::BTreeMap;

use ::oci::image;
use ::oci::oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, MediaType};
use ::oci::{Layout, Writer};

use super::Document;
use super::source::choose;
use crate::error::{Error, ResultExt};

/// Images for different platforms, on their way into one index.
#[derive(Default, Debug)]
pub struct Platforms {
    /// By the platform as people write it, so that the order of the sources makes no difference.
    images: BTreeMap<String, Member>,
}

#[derive(Debug)]
struct Member {
    /// Where it is from, for messages.
    from: String,
    descriptor: Descriptor,
    /// What it is called where it is from.
    name: Option<String>,
}

impl Platforms {
    /// Copies an image of a layout, all platforms of it if it has several.
    ///
    /// # Errors
    /// No such image, or damage; a platform that is there already.
    pub fn copy(&mut self, layout: &Layout, name: Option<&str>, from: &str, writer: &Writer) -> Result<(), Error> {
        let chosen = choose(layout, name)?;
        let document = Document::read(layout, &chosen)?;
        document.copy(layout, writer)?;
        let called = chosen.annotations().as_ref().and_then(|all| all.get(ANNOTATION_REF_NAME)).cloned();
        if document.children.is_empty() {
            return self.add(with_platform(layout, &chosen)?, called, from);
        }
        for child in &document.children {
            self.add(with_platform(layout, child)?, called.clone(), from)?;
        }
        Ok(())
    }

    /// Adds an image that is in the writer, by its descriptor, which has its platform.
    ///
    /// # Errors
    /// A platform that is there already.
    pub fn add(&mut self, mut descriptor: Descriptor, name: Option<String>, from: &str) -> Result<(), Error> {
        let Some(platform) = descriptor.platform().clone() else {
            return Err(Error::other(format!("failed to combine images: {from} does not say what it runs on")));
        };
        let variant = platform.variant().as_deref().map(|variant| format!("/{variant}")).unwrap_or_default();
        let platform = format!("{}/{}{variant}", platform.os(), platform.architecture());
        // What an image is called where it is from is nothing that an index says of its members.
        descriptor.set_annotations(None);
        let member = Member { from: from.to_owned(), descriptor, name };
        match self.images.insert(platform.clone(), member) {
            None => Ok(()),
            Some(other) => Err(Error::other(format!(
                "failed to combine images: {} and {from} are both for {platform}",
                other.from
            ))
            .hint("an index has one image for each platform")),
        }
    }

    /// Writes the index, under the name that all images have, if they have the same.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn finish(self, writer: &mut Writer) -> Result<Descriptor, Error> {
        let mut names: Vec<Option<String>> = self.images.values().map(|member| member.name.clone()).collect();
        names.dedup();
        let images = self.images.into_values().map(|member| member.descriptor).collect();
        let index = image::write_index(writer, images, &BTreeMap::new()).to("write the index of the images")?;
        let name = names.pop().flatten().filter(|_| names.is_empty());
        writer.add(index.clone(), name.as_deref());
        Ok(index)
    }
}

/// A descriptor with what its image runs on, which the configuration always knows.
fn with_platform(layout: &Layout, descriptor: &Descriptor) -> Result<Descriptor, Error> {
    let read = image::read(layout, descriptor).to("read the image")?;
    let mut described = Descriptor::new(
        MediaType::from(descriptor.media_type().to_string().as_str()),
        descriptor.size(),
        descriptor.digest().clone(),
    );
    described.set_platform(Some(read.platform().to("read the image")?));
    Ok(described)
}
