#!/bin/sh
# Makes the disk image for macOS from the application that “python3 launch.py package” has made.
#
#   installers/macos/make_dmg.sh "dist/Lowrank Studio.app" VERSION
#
# SIGN_AS is the name of a “Developer ID Application” certificate; without it the application is signed ad hoc, and macOS lets
# it run only on the Mac it was made on, or after a right click and “Open”. NOTARY_PROFILE is a profile that “xcrun notarytool
# store-credentials” has kept; with it Apple is asked to notarize the image.
set -eu

stop() {
    printf '%s\n' "make_dmg.sh: $*" >&2
    exit 1
}

[ $# -eq 2 ] || stop "say the application and the version: make_dmg.sh \"dist/Lowrank Studio.app\" 0.1.0"
application=$1
[ -d "$application/Contents/MacOS" ] || stop "$application is not an application. Make it with: python3 launch.py package"
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
image=$(dirname -- "$application")/lowrank-studio-$2-macos-$(uname -m).dmg
[ ! -e "$image" ] || stop "$image exists already. Delete it first."

codesign --force --deep --options runtime --sign "${SIGN_AS:--}" \
    --entitlements "$here/entitlements.plist" "$application"
codesign --verify --deep --strict "$application"

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
cp -R "$application" "$stage/"
ln -s /Applications "$stage/Applications"
# the command line is the same program under another name
cat >"$stage/Command line.txt" <<'TEXT'
To use “lowrank” in the terminal:

  mkdir -p ~/.local/bin
  ln -s "/Applications/Lowrank Studio.app/Contents/MacOS/lowrank-studio" ~/.local/bin/lowrank

and have ~/.local/bin in your PATH.
TEXT
hdiutil create -volname "Lowrank Studio" -srcfolder "$stage" -format ULFO "$image"
if [ -n "${NOTARY_PROFILE:-}" ]; then
    xcrun notarytool submit "$image" --keychain-profile "$NOTARY_PROFILE" --wait
    xcrun stapler staple "$image"
fi
echo "$image"
