//! The image that a spec starts from, as it is written.

use std::path::Path;

use super::customized::missing_file;
use super::decode::Located;
use super::problem::{Problem, Problems};
use super::resolved::{BaseImage, BasePlace};

/// What can be written.
const FORMS: &str = "write oci:PATH, oci:PATH:NAME or docker://HOST/REPOSITORY:TAG";

/// Finds out which image is meant.
pub fn image(written: &Located<String>, directory: &Path, problems: &mut Problems) -> Option<BaseImage> {
    let text = written.value.as_str();
    let mut refuse = |why: String, hint: String| {
        problems.push(Problem::error(&written.span, format!("image.base.from: {text:?} {why}")).hint(hint));
        None
    };
    let place = if text.starts_with("docker://") {
        match text.parse() {
            Ok(reference) => BasePlace::Registry(reference),
            Err(error) => {
                let error: registry::ReferenceError = error;
                let hint = error.hint().unwrap_or_else(|| FORMS.into());
                return refuse("names no image of a registry".into(), hint);
            }
        }
    } else if text.starts_with("oci://") {
        let rest = text.trim_start_matches("oci://");
        return refuse("names no image".into(), format!("an image at a registry is docker://{rest}"));
    } else if let Some(rest) = text.strip_prefix("oci:") {
        // As skopeo and umoci read it: names may have colons, paths of layouts have none.
        let (path, name) = match rest.split_once(':') {
            Some((path, name)) => (path, Some(name.to_owned())),
            None => (rest, None),
        };
        if path.is_empty() || name.as_deref() == Some("") {
            return refuse("names no image".into(), FORMS.into());
        }
        let whole = directory.join(path);
        if !whole.exists() {
            problems.push(missing_file(path, &written.span, directory));
            return None;
        }
        BasePlace::Layout { path: whole, name }
    } else {
        return refuse("names no image".into(), FORMS.into());
    };
    Some(BaseImage { written: text.to_owned(), place })
}
