//! The files of the page, inside the program.

macro_rules! assets {
    ($($name:literal)*) => {
        /// Name and content of each file.
        const ASSETS: &[(&str, &[u8])] = &[$(($name, include_bytes!(concat!("assets/", $name)))),*];
    };
}

assets! {
    "api.js" "destinations.js" "details.js" "dom.js" "empty.js" "failures.js" "filters.js" "format.js"
    "heatmap.js" "icon.svg" "index.html" "latency.js" "lines.js" "live.js" "main.js" "previews.js" "requests.js"
    "rows.js" "style.css" "trace.js" "traces.js" "tree.js" "waterfall.js"
}

/// The page itself, for the address of every view.
pub(super) const INDEX: &str = "index.html";

/// Media type and content of a file.
pub(super) fn asset(name: &str) -> Option<(&'static str, &'static [u8])> {
    let (name, content) = ASSETS.iter().find(|(known, _)| *known == name)?;
    let media_type = match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    };
    Some((media_type, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served_with_its_media_type() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/exporter/page/assets");
        for file in std::fs::read_dir(folder).unwrap().flatten() {
            let name = file.file_name().into_string().unwrap();
            let (media_type, _) = asset(&name).unwrap_or_else(|| panic!("{name} is missing"));
            assert_ne!(media_type, "application/octet-stream", "{name}");
        }
    }
}
