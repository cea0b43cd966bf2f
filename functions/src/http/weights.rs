//! Headers that list names with weights, such as `Accept`.

/// The names in a header such as `Accept`, in lower case, and whether the weight is above zero.
pub(super) fn weights(header: &str) -> impl Iterator<Item = (String, bool)> {
    header.split(',').map(|part| {
        let mut parameters = part.split(';').map(str::trim);
        let name = parameters.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parameters.find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            key.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().ok())
        });
        // A malformed weight is ignored.
        (name, weight.flatten().is_none_or(|weight| weight > 0.0))
    })
}
