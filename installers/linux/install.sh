#!/bin/sh
# Installs Lowrank Studio for one user, from the folder that this script lies in. Root is not needed.
#
#   ./install.sh [--to FOLDER]
#
# FOLDER is where the program goes, on any disk (default: ~/.local/lib/lowrank-studio). Everything else is links and a few
# small files in ~/.local, written down in FOLDER/installed.txt; FOLDER/uninstall.sh takes all of it away again.
set -eu

name=lowrank-studio
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
shared=${XDG_DATA_HOME:-$HOME/.local/share}
programs=$HOME/.local/bin
folder=$HOME/.local/lib/$name

stop() {
    printf '%s\n' "install.sh: $*" >&2
    exit 1
}

usage() { sed -n '2,7s/^# \{0,1\}//p' "$0"; }

while [ $# -gt 0 ]; do
    case $1 in
    --to)
        [ $# -gt 1 ] && [ -n "$2" ] || stop "--to needs a folder, as in: ./install.sh --to /data/$name"
        folder=$2
        shift 2
        ;;
    --help | -h)
        usage
        exit 0
        ;;
    *) stop "“$1” is not an option. ./install.sh --help lists them." ;;
    esac
done
case $folder in /*) ;; *) folder=$PWD/$folder ;; esac

[ -x "$here/$name" ] || stop "the program “$name” is not beside this script. Unpack the whole archive and try again."
[ "$here" != "$folder" ] || stop "the program lies in $folder already. Choose another folder with --to."
case $folder/ in "$here"/*) stop "$folder lies inside the unpacked archive. Choose another folder with --to." ;; esac
if [ -e "$folder/installed.txt" ]; then
    stop "Lowrank Studio is installed in $folder already. Run $folder/uninstall.sh first (your models and runs stay)."
fi
if [ -e "$folder" ] && [ -n "$(ls -A "$folder" 2>/dev/null || echo unreadable)" ]; then
    stop "$folder exists and holds other files. Choose another folder with --to."
fi
for path in "$programs/$name" "$programs/lowrank" "$shared/applications/$name.desktop" "$shared/mime/packages/$name.xml"; do
    if [ -e "$path" ] || [ -L "$path" ]; then
        stop "$path exists already and is not replaced. If it is of an older installation, run its uninstall.sh first."
    fi
done

case $folder in
*[\"\`\$\\%]*) stop "$folder has a letter that desktops cannot have in a program's place (\" \` \$ \\ %). Choose another folder." ;;
esac

new_folders=
folders() {
    # makes a folder, and remembers which of those above it were not there yet: they go when the program goes
    case $1 in / | "$HOME") return 0 ;; esac
    [ ! -d "$1" ] || return 0
    folders "$(dirname -- "$1")" || return 1
    mkdir "$1" || return 1
    new_folders="$new_folders$1/
"
}
undo() {
    rm -rf "$part"
    printf '%s' "$new_folders" | sort -r | while IFS= read -r made; do rmdir "$made" 2>/dev/null || true; done
}

parent=$(dirname -- "$folder")
part=$parent/.$name.$$.part
trap undo EXIT
trap 'exit 130' INT TERM HUP
folders "$parent" || stop "$parent cannot be made. Choose another folder with --to."
needed=$(du -sk "$here" | cut -f1)
free=$(df -Pk "$parent" | awk 'NR == 2 {print $4}')
if [ "$free" -lt "$needed" ]; then
    stop "$((needed / 1024)) MiB are needed in $parent and $((free / 1024)) MiB are free. Choose another disk with --to."
fi

mkdir "$part" || stop "$parent cannot be written to. Choose another folder with --to."
cp -R "$here/." "$part/" || stop "the program could not be copied to $parent; nothing was installed."

list=$part/installed.txt
: >"$list"
made() { printf '%s\n' "$1" >>"$list"; }
place() { # SOURCE TARGET: a file of the desktop's, which is told where the program is
    folders "$(dirname -- "$2")"
    made "$2"
    escaped=$(printf '%s' "$folder" | sed 's/[\\&|]/\\&/g')
    sed "s|@FOLDER@|$escaped|" "$part/share/$1" >"$2"
}
for program in $name lowrank; do
    folders "$programs"
    made "$programs/$program"
    ln -s "$folder/$name" "$programs/$program"
done
place $name.desktop "$shared/applications/$name.desktop"
place $name.svg "$shared/icons/hicolor/scalable/apps/$name.svg"
place $name.xml "$shared/mime/packages/$name.xml"
place lowrank.1 "$shared/man/man1/lowrank.1"
place $name.1 "$shared/man/man1/$name.1"
printf '%s' "$new_folders" >"$part/folders.txt"
[ ! -d "$folder" ] || rmdir "$folder"
mv "$part" "$folder"
trap - EXIT

if command -v update-mime-database >/dev/null; then update-mime-database "$shared/mime" 2>/dev/null || true; fi
if command -v update-desktop-database >/dev/null; then update-desktop-database "$shared/applications" 2>/dev/null || true; fi

echo "Lowrank Studio is installed in $folder."
echo "Start it from the menu of your desktop, or with: $programs/$name"
case :$PATH: in
*:"$programs":*) echo "On the command line it is called: lowrank" ;;
*) echo "On the command line it is called $programs/lowrank; add $programs to your PATH to write only “lowrank”." ;;
esac
echo "To take it away again: $folder/uninstall.sh"
