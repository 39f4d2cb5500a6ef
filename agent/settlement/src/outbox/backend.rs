//! Where an outbox is kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file, and one beside it that may take its place. So small that a test can stand in for it and cut
/// anywhere.
pub trait Backend: Send {
    /// The whole file; none if there never was one.
    ///
    /// # Errors
    /// It cannot be read, or was set aside and none was begun since.
    fn load(&mut self) -> io::Result<Option<Vec<u8>>>;
    /// Adds to the file's end.
    ///
    /// # Errors
    /// It cannot be written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file to a length in bytes.
    ///
    /// # Errors
    /// It cannot be.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Brings the file to stable storage.
    ///
    /// # Errors
    /// It cannot be; what of it is there is unknown.
    fn sync(&mut self) -> io::Result<()>;
    /// Writes another file beside it.
    ///
    /// # Errors
    /// It cannot be written.
    fn write_aside(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Brings the other file to stable storage.
    ///
    /// # Errors
    /// It cannot be.
    fn sync_aside(&mut self) -> io::Result<()>;
    /// Puts the other file in the place of the file.
    ///
    /// # Errors
    /// It cannot be.
    fn rename_aside(&mut self) -> io::Result<()>;
    /// Brings names to stable storage.
    ///
    /// # Errors
    /// It cannot be.
    fn sync_folder(&mut self) -> io::Result<()>;
    /// Gives the file another name, where nobody uses it, and says which.
    ///
    /// # Errors
    /// It cannot be.
    fn set_aside(&mut self) -> io::Result<String>;
}

/// So many damaged files are kept at most: more than a person would look at.
const DAMAGED_MAX: u32 = 64;

/// A file in a folder.
#[derive(Debug)]
pub struct Folder {
    folder: PathBuf,
    file: Option<File>,
    aside: Option<File>,
}

/// The file's name.
const NAME: &str = "outbox";

/// The name of the file that takes its place.
const ASIDE: &str = "outbox.new";

impl Folder {
    /// The outbox of a folder that exists.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), file: None, aside: None }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    fn open(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => OpenOptions::new().read(true).append(true).open(self.path())?,
        };
        Ok(self.file.insert(file))
    }
}

impl Backend for Folder {
    fn load(&mut self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path()) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match self.folder.join(format!("{NAME}.damaged-0")).try_exists()? {
                    true => {
                        Err(io::Error::other("a damaged one was set aside, none was begun anew"))
                    }
                    false => Ok(None),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.open()?.write_all(bytes)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.open()?.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.open()?.sync_all()
    }

    fn write_aside(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(self.folder.join(ASIDE))?;
        file.write_all(bytes)?;
        self.aside = Some(file);
        Ok(())
    }

    fn sync_aside(&mut self) -> io::Result<()> {
        match &self.aside {
            Some(file) => file.sync_all(),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }

    fn rename_aside(&mut self) -> io::Result<()> {
        (self.file, self.aside) = (None, None);
        fs::rename(self.folder.join(ASIDE), self.path())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn set_aside(&mut self) -> io::Result<String> {
        self.file = None;
        for number in 0..DAMAGED_MAX {
            let name = format!("{NAME}.damaged-{number}");
            let path = self.folder.join(&name);
            if !path.try_exists()? {
                fs::rename(self.path(), &path)?;
                return Ok(name);
            }
        }
        Err(io::Error::other("there are too many damaged files in the folder: look at them"))
    }
}
