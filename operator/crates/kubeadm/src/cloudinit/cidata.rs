//! The disk on which cloud-init's `NoCloud` data source looks for its files: a small FAT file system with the label
//! `CIDATA`. The same files give the same bytes.

use std::io::{Cursor, Write};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

use super::CidataFile;

/// The label that cloud-init looks for, padded as FAT wants it.
const LABEL: [u8; 11] = *b"CIDATA     ";

/// A fixed serial number, for the sake of equal bytes.
const VOLUME_ID: u32 = 0x5eed_bed0;

/// Smallest size of the image. FAT12 with clusters of one sector holds it, and what QEMU rounds disks up to fits it.
const SMALLEST: usize = 1024 * 1024;

/// The image could not be made.
#[derive(Debug, thiserror::Error)]
#[error("make the CIDATA image of {bytes} bytes: {source}")]
pub struct CidataError {
    /// Size of the files.
    pub bytes: usize,
    /// The file system library's words.
    #[source]
    pub source: std::io::Error,
}

/// Makes the image.
pub fn image(files: &[CidataFile]) -> Result<Vec<u8>, CidataError> {
    let bytes = files.iter().map(|file| file.content.len()).sum();
    write_image(files, bytes).map_err(|source| CidataError { bytes, source })
}

fn write_image(files: &[CidataFile], bytes: usize) -> std::io::Result<Vec<u8>> {
    let size = (2 * bytes).next_multiple_of(SMALLEST).max(SMALLEST);
    let mut disk = Cursor::new(vec![0; size]);
    let options = FormatVolumeOptions::new()
        .fat_type(if size < 4 * SMALLEST {
            FatType::Fat12
        } else {
            FatType::Fat16
        })
        .volume_id(VOLUME_ID)
        .volume_label(LABEL);
    fatfs::format_volume(&mut disk, options)?;
    {
        let file_system = FileSystem::new(&mut disk, FsOptions::new().time_provider(&CLOCK))?;
        for file in files {
            let mut target = file_system.root_dir().create_file(file.name)?;
            target.write_all(file.content.as_bytes())?;
            target.flush()?;
        }
        file_system.unmount()?;
    }
    Ok(disk.into_inner())
}

/// A clock that stands still at the first moment that FAT knows.
#[derive(Debug)]
struct Stopped;

static CLOCK: Stopped = Stopped;

impl fatfs::TimeProvider for Stopped {
    fn get_current_date(&self) -> fatfs::Date {
        fatfs::Date {
            year: 1980,
            month: 1,
            day: 1,
        }
    }

    fn get_current_date_time(&self) -> fatfs::DateTime {
        let time = fatfs::Time {
            hour: 0,
            min: 0,
            sec: 0,
            millis: 0,
        };
        fatfs::DateTime {
            date: self.get_current_date(),
            time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn files() -> Vec<CidataFile> {
        vec![
            CidataFile {
                name: "user-data",
                content: "#cloud-config\nhostname: demo-cp-0\n".into(),
            },
            CidataFile {
                name: "meta-data",
                content: "instance-id: 1\n".into(),
            },
        ]
    }

    #[test]
    fn the_files_can_be_read_again() {
        let image = image(&files()).unwrap();
        let file_system = FileSystem::new(Cursor::new(image), FsOptions::new()).unwrap();
        assert_eq!(
            file_system.read_volume_label_from_root_dir().unwrap().as_deref(),
            Some("CIDATA")
        );
        for file in files() {
            let mut content = String::new();
            file_system
                .root_dir()
                .open_file(file.name)
                .unwrap()
                .read_to_string(&mut content)
                .unwrap();
            assert_eq!(content, file.content);
        }
        let names: Vec<_> = file_system
            .root_dir()
            .iter()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["user-data", "meta-data"]);
    }

    #[test]
    fn equal_files_give_equal_bytes() {
        assert_eq!(image(&files()).unwrap(), image(&files()).unwrap());
    }

    #[test]
    fn files_larger_than_the_smallest_image_fit() {
        for kibibytes in [600, 1024, 5000] {
            let large = vec![CidataFile {
                name: "user-data",
                content: "x".repeat(kibibytes * 1024),
            }];
            let file_system = FileSystem::new(Cursor::new(image(&large).unwrap()), FsOptions::new()).unwrap();
            let mut content = String::new();
            file_system
                .root_dir()
                .open_file("user-data")
                .unwrap()
                .read_to_string(&mut content)
                .unwrap();
            assert!(content == large[0].content, "{kibibytes} KiB");
        }
    }
}
