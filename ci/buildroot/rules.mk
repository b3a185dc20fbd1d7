# SPDX-License-Identifier: GPL-2.0-only
# Stands in for OpenWrt's rules.mk, package.mk and rust-package.mk, as far as feed/net/wgroam/Makefile uses them, so that
# ci/package takes all that it says from there: `make -C feed/net/wgroam TOPDIR=ci/buildroot OUT=FOLDER stage control`.
# As in OpenWrt, a package's scripts go through an exported variable and `echo`, `install` is called with a folder.

INCLUDE_DIR := $(TOPDIR)/include
INSTALL_DIR := install -d -m0755
INSTALL_BIN := install -m0755
CP := cp -fpR
PKG_BUILD_DIR := $(OUT)/build
PKG_INSTALL_DIR := $(OUT)/rust
RUST_ARCH_DEPENDS := @RUST_ARCH_DEPENDS

define BuildPackage
$(Package/$(1))
export DESCRIPTION = $$(call Package/$(1)/description)
export CONFFILES = $$(call Package/$(1)/conffiles)
export POSTINST = $$(call Package/$(1)/postinst)
export POSTRM = $$(call Package/$(1)/postrm)
package: prepare stage
prepare:
	$$(call Build/Prepare)
stage:
	echo "$$$$CONFFILES" > $(OUT)/conffiles
	echo "$$$$POSTINST" > $(OUT)/postinst-pkg
	echo "$$$$POSTRM" > $(OUT)/postrm
	$$(call Package/$(1)/install,$(OUT)/root)
# `+` selects what a package needs, `@` is for the configuration alone.
control:
	@echo 'Package: $(1)'
	@echo 'Version: $(PKG_VERSION)-r$(PKG_RELEASE)'
	@echo 'Depends: $$(patsubst +%,%,$$(filter-out @%,$$(DEPENDS)))'
	@echo 'Source: $(PKG_NAME)'
	@echo 'SourceName: $(PKG_NAME)'
	@echo 'License: $(PKG_LICENSE)'
	@echo 'LicenseFiles: $(PKG_LICENSE_FILES)'
	@echo 'Section: $$(SECTION)'
	@echo 'Require-User: $$(USERID)'
	@echo 'Maintainer: $(PKG_MAINTAINER)'
	@echo "Description: $$$$DESCRIPTION"
variables:
	@echo 'PKG_VERSION=$(PKG_VERSION)'
	@echo 'PKG_FILE_DEPENDS=$(PKG_FILE_DEPENDS)'
endef
