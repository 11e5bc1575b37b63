//! Codes on paper: one page of HTML for a browser to print, each code in a box of its own to be cut out, with a QR code.
//! It loads nothing from anywhere, runs no script, and shows what users wrote as text.
//!
//! ```
//! use labyard_labs::code::{CodeText, sheet::{Sheet, html}};
//! let codes = [("main".to_owned(), CodeText::from_random([7; 10]))].into();
//! let page = html(&Sheet { title: "Robotics <1>", notes: &[], codes: &codes, redeem_at: None }).unwrap();
//! assert!(page.contains("Robotics &lt;1&gt;") && page.contains("<svg"));
//! ```

use super::CodeText;
use qrcode::{Color, EcLevel, QrCode, types::QrError};
use std::{collections::BTreeMap, fmt::Write as _};

/// What is printed.
#[derive(Clone, Copy, Debug)]
pub struct Sheet<'a> {
    /// What stands on each box: the name of the course.
    pub title: &'a str,
    /// Lines below it: when it can be used, for how long.
    pub notes: &'a [String],
    /// The codes by their labels.
    pub codes: &'a BTreeMap<String, CodeText>,
    /// Where codes are redeemed, if in a browser: the QR code leads there, with the code behind a `#`, which a browser
    /// keeps to itself. Otherwise it is the code alone.
    pub redeem_at: Option<&'a str>,
}

/// The light border that a QR code needs, in its own dots.
const QUIET: usize = 4;
const STYLE: &str = "\
@page { margin: 12mm }
body { font: 11pt/1.35 system-ui, sans-serif; color: #000; margin: 0 }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(82mm, 1fr)); gap: 4mm }
section { border: .3mm dashed #888; padding: 4mm; display: flex; gap: 4mm; break-inside: avoid }
svg { width: 30mm; height: 30mm; flex: none }
h2 { font-size: 12pt; margin: 0 } p { margin: 1mm 0 }
.code { font: 600 13pt/1.3 ui-monospace, monospace; overflow-wrap: anywhere }
.label { color: #555; font-size: 9pt }
";

/// The page.
///
/// # Errors
/// If a code with its address is too long for a QR code.
pub fn html(sheet: &Sheet<'_>) -> Result<String, QrError> {
    let title = escaped(sheet.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    for (label, code) in sheet.codes {
        let _ = write!(
            page,
            "<section>\n{}\n<div>\n<h2>{title}</h2>\n",
            dots(sheet, code)?
        );
        let _ = writeln!(page, "<p class=\"code\">{}</p>", escaped(&code.to_string()));
        for note in sheet.notes {
            let _ = writeln!(page, "<p>{}</p>", escaped(note));
        }
        if let Some(address) = sheet.redeem_at {
            let _ = writeln!(page, "<p>{}</p>", escaped(address));
        }
        if label != super::keep::ONLY {
            let _ = writeln!(page, "<p class=\"label\">{}</p>", escaped(label));
        }
        page += "</div>\n</section>\n";
    }
    page += "</main>\n</body>\n</html>\n";
    Ok(page)
}

/// What the QR code of a code says.
fn told(sheet: &Sheet<'_>, code: &CodeText) -> String {
    let text = code.to_string();
    let Some(address) = sheet.redeem_at else {
        return text;
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let encoded: String = text
        .bytes()
        .map(|byte| match plain(&byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect();
    format!("{address}#code={encoded}")
}

fn dots(sheet: &Sheet<'_>, code: &CodeText) -> Result<String, QrError> {
    let drawn = QrCode::with_error_correction_level(told(sheet, code), EcLevel::M)?;
    let width = drawn.width();
    let side = width + 2 * QUIET;
    let mut path = String::new();
    for (at, color) in drawn.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let _ = write!(path, "M{} {}h1v1h-1z", at % width + QUIET, at / width + QUIET);
        }
    }
    Ok(format!(
        "<svg viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\" role=\"img\" aria-label=\"QR code\"><path fill=\"#fff\" \
         d=\"M0 0h{side}v{side}h-{side}z\"/><path d=\"{path}\"/></svg>"
    ))
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c if c.is_control() && c != '\n' => out.push(' '),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(texts: &[(&str, &str)]) -> BTreeMap<String, CodeText> {
        let parsed = |(label, text): &(&str, &str)| ((*label).to_owned(), CodeText::parse(text).unwrap());
        texts.iter().map(parsed).collect()
    }

    /// What a reader that others wrote sees in the drawings of a page.
    fn read(page: &str) -> Vec<String> {
        const SCALE: usize = 8;
        page.split("<svg viewBox=\"0 0 ")
            .skip(1)
            .map(|drawing| {
                let side: usize = drawing.split(' ').next().unwrap().parse().unwrap();
                let path = drawing
                    .split("<path d=\"")
                    .nth(1)
                    .unwrap()
                    .split('"')
                    .next()
                    .unwrap();
                let mut dark = vec![false; side * side];
                for dot in path.split('M').skip(1) {
                    let (x, rest) = dot.split_once(' ').unwrap();
                    let y = rest.split('h').next().unwrap();
                    dark[y.parse::<usize>().unwrap() * side + x.parse::<usize>().unwrap()] = true;
                }
                let mut image =
                    rqrr::PreparedImage::prepare_from_greyscale(side * SCALE, side * SCALE, |x, y| {
                        if dark[y / SCALE * side + x / SCALE] {
                            0
                        } else {
                            255
                        }
                    });
                let grids = image.detect_grids();
                assert_eq!(grids.len(), 1);
                grids[0].decode().unwrap().1
            })
            .collect()
    }

    #[test]
    fn each_code_stands_as_text_and_as_a_drawing_that_a_reader_reads() {
        let codes = codes(&[("001", "KJ4M8ZQ27W3P0N5T"), ("002", "Robotik für alle")]);
        let sheet = Sheet {
            title: "Robotics",
            notes: &["Until 20 December".to_owned()],
            codes: &codes,
            redeem_at: None,
        };
        let page = html(&sheet).unwrap();
        assert_eq!(read(&page), ["KJ4M-8ZQ2-7W3P-0N5T", "Robotik für alle"]);
        for part in [
            "KJ4M-8ZQ2-7W3P-0N5T",
            "Robotik für alle",
            "Until 20 December",
            ">001<",
            ">002<",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(page.matches("<section>").count(), 2);
        let at = Sheet {
            redeem_at: Some("https://labs.example/redeem"),
            ..sheet
        };
        assert_eq!(
            read(&html(&at).unwrap()),
            [
                "https://labs.example/redeem#code=KJ4M-8ZQ2-7W3P-0N5T",
                "https://labs.example/redeem#code=Robotik%20f%C3%BCr%20alle"
            ]
        );
    }

    #[test]
    fn what_users_wrote_is_text_and_the_page_loads_nothing() {
        let bad = "</title><script>alert(1)</script><img src=x onerror='y'>\"&";
        let codes = codes(&[(bad, bad)]);
        let page = html(&Sheet {
            title: bad,
            notes: &[bad.to_owned()],
            codes: &codes,
            redeem_at: Some("https://labs.example/\"><script>"),
        })
        .unwrap();
        for part in [
            "<script",
            "<img",
            "onerror='",
            "http-equiv=\"refresh",
            "src=\"",
            "href=",
        ] {
            assert!(!page.contains(part), "{part} is in\n{page}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn what_no_drawing_can_hold_is_refused() {
        let codes = codes(&[("main", "KJ4M8ZQ27W3P0N5T")]);
        let address = format!("https://labs.example/{}", "x".repeat(3000));
        let sheet = Sheet {
            title: "",
            notes: &[],
            codes: &codes,
            redeem_at: Some(&address),
        };
        assert_eq!(html(&sheet), Err(QrError::DataTooLong));
    }
}
