//! Images: where they are from, their digests, and the names of those that are kept.

/// A SHA-256 digest.
pub fn sha256(text: &str) -> Result<(), String> {
    if text.len() == 64
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no SHA-256 digest: write 64 lower-case hex digits, as sha256sum prints them"
    ))
}

/// Where an image comes from.
pub fn image_source(text: &str) -> Result<(), String> {
    let after = |scheme: &str| text.strip_prefix(scheme).filter(|rest| !rest.is_empty());
    if after("https://").is_some() || after("http://").is_some() || after("file:").is_some() {
        return Ok(());
    }
    if let Some(kept) = text.strip_prefix("image:") {
        return kept_image(kept);
    }
    let Some(path) = text.strip_prefix("host:") else {
        return Err(format!(
            "{text:?} is no image source: write https://… or http://…, file: and a path on the computer that runs \
             Terraform, host: and a path on the hypervisor, or image: and the name of a captured image"
        ));
    };
    let on_a_drive = path.get(1..3).is_some_and(|rest| matches!(rest, ":\\" | ":/"));
    if path.ends_with(['/', '\\']) || !(path.starts_with(['/', '\\']) || on_a_drive) {
        return Err(format!(
            "{text:?} is no file of the hypervisor: write host: and the whole path, like host:/srv/images/debian.qcow2"
        ));
    }
    Ok(())
}

/// Where the image of a CD comes from.
pub fn medium_source(text: &str) -> Result<(), String> {
    if text.starts_with("image:") {
        return Err(format!(
            "{text:?} is an image of a machine's disk, and a CD drive takes a CD: write https://… or http://…, file: or host: \
             and a path, or make a disk of it (disks.KEY.image)"
        ));
    }
    image_source(text)
}

/// The name of a captured image: part of volume names.
pub fn image_name(text: &str) -> Result<(), String> {
    let well_formed = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if well_formed && text.len() <= 40 {
        return Ok(());
    }
    Err(format!(
        "{text:?} cannot be the name of an image: use 1 to 40 lower-case letters, digits and '-', beginning with a letter or digit"
    ))
}

/// A captured image as it is named behind `image:`.
pub fn kept_image(text: &str) -> Result<(), String> {
    let Some((name, revision)) = text.split_once('@') else {
        return image_name(text);
    };
    image_name(name)?;
    match revision.parse::<u32>() {
        Ok(number) if number > 0 && number.to_string() == revision => Ok(()),
        _ => Err(format!(
            "\"image:{text}\" names no revision of an image: write image:{name} for the newest, or image:{name}@3 for the third"
        )),
    }
}
