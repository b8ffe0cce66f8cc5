// SPDX-License-Identifier: Apache-2.0
//! Little-endian numbers in images, and in what guests are told.

pub fn get16(from: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([from[at], from[at + 1]])
}

pub fn get32(from: &[u8], at: usize) -> u32 {
    u32::from(get16(from, at)) | u32::from(get16(from, at + 2)) << 16
}

pub fn get64(from: &[u8], at: usize) -> u64 {
    u64::from(get32(from, at)) | u64::from(get32(from, at + 4)) << 32
}

pub fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    to[at..at + bytes.len()].copy_from_slice(bytes);
}

pub fn put16(to: &mut [u8], at: usize, value: u16) {
    put(to, at, &value.to_le_bytes());
}

pub fn put32(to: &mut [u8], at: usize, value: u32) {
    put(to, at, &value.to_le_bytes());
}

pub fn put64(to: &mut [u8], at: usize, value: u64) {
    put(to, at, &value.to_le_bytes());
}
