# SPDX-License-Identifier: GPL-2.0-only
# Stands in for OpenWrt's rules.mk, package.mk and rust-package.mk, as far as feed/net/wgroam/Makefile uses them, so that
# ci/package and the tests take all that it says from there: `ci/buildroot/stage FOLDER BINARIES` leaves in
# FOLDER/PACKAGE what each package is made of: its files in root/, its fields in control, its conffiles and scripts.
# As in OpenWrt, a package's scripts go through an exported variable and `echo`, `install` is called with a folder, and a
# package that does not say something has none of it.

INCLUDE_DIR := $(TOPDIR)/include
INSTALL_DIR := install -d -m0755
INSTALL_BIN := install -m0755
INSTALL_DATA := install -m0644
INSTALL_CONF := install -m0600
CP := cp -fpR
PKG_BUILD_DIR = $(OUT)/build/$(PKG_NAME)-$(PKG_VERSION)
PKG_INSTALL_DIR := $(OUT)/rust
RUST_ARCH_DEPENDS := @RUST_ARCH_DEPENDS

define Package/Default
  SECTION:=
  DEPENDS:=
  USERID:=
endef

# $(call text,PACKAGE,WHAT,FILE): a line of a recipe that writes it, if the package has it.
text = $(if $(value Package/$(1)/$(2)),echo "$$$$$(2)" > $(OUT)/$(1)/$(3))

# In `Depends`, `+` selects what a package needs, `@` is for the configuration alone.
define BuildPackage
$(eval $(Package/Default))
$(eval $(Package/$(1)))
.PHONY: stage $(1)
stage: $(1)
$(1): export description = $$(call Package/$(1)/description)
$(1): export conffiles = $$(call Package/$(1)/conffiles)
$(1): export postinst = $$(call Package/$(1)/postinst)
$(1): export postrm = $$(call Package/$(1)/postrm)
$(1):
	mkdir -p $(OUT)/$(1)/root
	$(call text,$(1),conffiles,conffiles)
	$(call text,$(1),postinst,postinst-pkg)
	$(call text,$(1),postrm,postrm)
	( \
		echo 'Package: $(1)'; \
		echo 'Version: $(PKG_VERSION)-r$(PKG_RELEASE)'; \
		echo 'Depends: $(patsubst +%,%,$(filter-out @%,$(DEPENDS)))'; \
		echo 'Source: $(PKG_NAME)'; \
		echo 'SourceName: $(PKG_NAME)'; \
		echo 'License: $(PKG_LICENSE)'; \
		echo 'LicenseFiles: $(PKG_LICENSE_FILES)'; \
		echo 'Section: $(SECTION)'; \
		echo 'Require-User: $(USERID)'; \
		echo 'Maintainer: $(PKG_MAINTAINER)'; \
		echo "Description: $$$$description"; \
	) > $(OUT)/$(1)/control
	$$(call Package/$(1)/install,$(OUT)/$(1)/root)
endef

# Where the Makefile has none of its own: checks a tarball, and unpacks it to where the build looks for it.
define Build/Prepare
	echo '$(PKG_HASH)  $(DL_DIR)/$(PKG_SOURCE)' | sha256sum --quiet --check
	mkdir -p $(OUT)/build
	tar -C $(OUT)/build -xf $(DL_DIR)/$(PKG_SOURCE)
endef

# The first goal is what OpenWrt does: the source, then the packages. Whoever brings programs of their own asks for `stage`.
package: prepare stage
prepare:
	$(call Build/Prepare)
variables:
	@echo 'PKG_VERSION=$(PKG_VERSION)'
	@echo 'PKG_FILE_DEPENDS=$(PKG_FILE_DEPENDS)'
	@echo 'PKG_SOURCE_URL=$(PKG_SOURCE_URL)'
	@echo 'MAKE_PATH=$(MAKE_PATH)'
	@echo 'CARGO_PKG_VARS=$(CARGO_PKG_VARS)'
	@echo 'CARGO_PKG_ARGS=$(CARGO_PKG_ARGS)'
.PHONY: package prepare variables
