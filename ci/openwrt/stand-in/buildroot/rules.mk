# SPDX-License-Identifier: GPL-2.0-only
# Stands in for OpenWrt's rules.mk, package.mk and rust-package.mk, as far as feed/net/wgroam/Makefile uses them: a
# package's scripts go through an exported variable and `echo`, `install` is called with a folder.

INCLUDE_DIR := $(TOPDIR)/include
INSTALL_DIR := install -d -m0755
INSTALL_BIN := install -m0755
CP := cp -fpR
PKG_BUILD_DIR := $(OUT)/build
PKG_INSTALL_DIR := $(OUT)/rust
RUST_ARCH_DEPENDS := @RUST_ARCH_DEPENDS

define BuildPackage
export CONFFILES = $$(call Package/$(1)/conffiles)
export POSTINST = $$(call Package/$(1)/postinst)
export POSTRM = $$(call Package/$(1)/postrm)
package:
	$$(call Build/Prepare)
	echo "$$$$CONFFILES" > $(OUT)/conffiles
	echo "$$$$POSTINST" > $(OUT)/postinst
	echo "$$$$POSTRM" > $(OUT)/postrm
	$$(call Package/$(1)/install,$(OUT)/root)
variables:
	@echo 'PKG_VERSION=$(PKG_VERSION)'
	@echo 'PKG_FILE_DEPENDS=$(PKG_FILE_DEPENDS)'
endef
