//! Reserved arrays: contents, limits and residency.

use crate::memory::limits::RESERVED_BYTES_MAX;
use crate::memory::{MemoryError, Reserved};

const PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 << 20;

#[test]
fn elements_start_as_zero_and_keep_what_is_written() {
    let mut array = Reserved::<u64>::new(10_000).expect("reserve");
    assert_eq!(array.capacity(), 10_000);
    assert!(array.iter().all(|element| *element == 0));
    array[9_999] = 7;
    assert_eq!((array[9_998], array[9_999]), (0, 7));
    assert!(array.get(10_000).is_none());
}

#[test]
fn an_empty_array_is_valid() {
    let array = Reserved::<u128>::new(0).expect("reserve");
    assert!(array.is_empty());
}

#[test]
fn a_capacity_beyond_the_limit_is_refused_with_the_limit() {
    let limit = RESERVED_BYTES_MAX / 8;
    let refused = Reserved::<u64>::new(limit + 1).map(|_| ());
    assert_eq!(
        refused,
        Err(MemoryError::TooLarge {
            capacity: limit + 1,
            limit
        })
    );
}

#[test]
fn only_touched_pages_are_resident() {
    // 4 GiB would not pass unnoticed: a touched page is all that becomes resident.
    let mut array = Reserved::<u8>::new(4 << 30).expect("reserve");
    assert_eq!(resident_pages(&array), 0);
    array[(2 << 30) + 5] = 1;
    assert_eq!(resident_pages(&array), 1);
}

#[test]
fn what_is_filled_keeps_its_bytes_and_takes_no_page_more() {
    const BYTES: usize = 5 * HUGE_PAGE;
    let mut array = Reserved::<u8>::new(BYTES).expect("reserve");
    for index in 0..3 * HUGE_PAGE {
        array[index] = index as u8;
        array.fill(index + 1);
    }
    assert_eq!(resident_pages(&array), 3 * HUGE_PAGE / PAGE);
    assert!((0..3 * HUGE_PAGE).all(|index| array[index] == index as u8));
}

/// Pages of the array that are in memory, by `mincore(2)`.
fn resident_pages(array: &Reserved<u8>) -> usize {
    let mut pages = vec![0u8; array.capacity().div_ceil(PAGE)];
    let start = array.as_ptr().cast_mut().cast();
    // SAFETY: the range is the array's own mapping and the vector has a byte for each page.
    let result = unsafe { libc::mincore(start, array.capacity(), pages.as_mut_ptr()) };
    assert_eq!(result, 0);
    pages.iter().filter(|page| **page & 1 == 1).count()
}
