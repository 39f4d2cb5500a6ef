//! The machine's own screen, as a person or a phone's camera before it sees it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::machine::Machine;

/// A picture in shades of grey, row by row from the top.
#[derive(Debug, Clone)]
pub struct Picture {
    width: usize,
    height: usize,
    shades: Vec<u8>,
}

impl Picture {
    /// Takes a picture of the machine's first screen; `file` is overwritten.
    ///
    /// # Errors
    /// When QEMU makes none, or one in another form than PPM.
    pub fn take(machine: &mut Machine, file: &Path) -> Result<Self> {
        machine.qmp.execute("screendump", &json!({ "filename": file.display().to_string() }))?;
        let bytes = std::fs::read(file)?;
        Self::from_ppm(&bytes).with_context(|| format!("{} is no picture", file.display()))
    }

    /// Reads a PPM (netpbm's form P6 with 8 bits for each colour).
    fn from_ppm(bytes: &[u8]) -> Result<Self> {
        let mut words = Vec::new();
        let mut at = 0;
        while words.len() < 4 {
            let rest = bytes.get(at..).context("the header is cut off")?;
            let begin =
                rest.iter().position(|byte| !byte.is_ascii_whitespace()).context("no header")?;
            let rest = rest.get(begin..).unwrap_or_default();
            let length = rest.iter().position(u8::is_ascii_whitespace).context("no header")?;
            words.push(std::str::from_utf8(rest.get(..length).unwrap_or_default())?.to_owned());
            at += begin + length;
        }
        let [form, width, height, most] = words.as_slice() else { unreachable!("four words") };
        ensure!(form == "P6" && most == "255", "form {form} with {most} shades");
        let (width, height) = (width.parse::<usize>()?, height.parse::<usize>()?);
        let colours = bytes.get(at + 1..).unwrap_or_default();
        ensure!(
            colours.len() == width * height * 3,
            "{} bytes for {width}x{height}",
            colours.len()
        );
        let shades = colours
            .chunks_exact(3)
            .map(|colour| colour.iter().copied().max().unwrap_or_default())
            .collect();
        Ok(Self { width, height, shades })
    }

    /// What the QR codes in the picture say.
    #[must_use]
    pub fn qr_codes(&self) -> Vec<String> {
        let shade =
            |x: usize, y: usize| self.shades.get(y * self.width + x).copied().unwrap_or_default();
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(self.width, self.height, shade);
        image
            .detect_grids()
            .into_iter()
            .filter_map(|grid| grid.decode().ok())
            .map(|(_, text)| text)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_read_and_one_that_is_cut_off_is_not() -> Result<()> {
        let picture = Picture::from_ppm(b"P6\n2 1\n255\n\x00\x10\x20\xff\x00\x00")?;
        assert_eq!((picture.width, picture.height, picture.shades), (2, 1, vec![0x20, 0xff]));
        assert!(Picture::from_ppm(b"P6\n2 1\n255\n\x00\x10\x20").is_err());
        assert!(Picture::from_ppm(b"P6\n2").is_err());
        Ok(())
    }
}
