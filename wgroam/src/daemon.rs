// SPDX-License-Identifier: GPL-2.0-only
//! The loop: token -> adapter -> Event -> engine -> Action -> adapter.
