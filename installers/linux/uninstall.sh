#!/bin/sh
# Takes away what install.sh has installed. Models, runs and exports stay, unless --data asks for them to go too.
#
#   ./uninstall.sh [--data]
set -eu

name=lowrank-studio
folder=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
shared=${XDG_DATA_HOME:-$HOME/.local/share}
data=no

stop() {
    printf '%s\n' "uninstall.sh: $*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --data) data=yes ;;
    --help | -h)
        sed -n '2,4s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *) stop "“$1” is not an option. ./uninstall.sh --help lists them." ;;
    esac
    shift
done

if [ ! -f "$folder/installed.txt" ]; then
    stop "nothing was installed from $folder: delete the folder itself to be rid of it."
fi
for process in /proc/[0-9]*; do
    program=$(readlink "$process/exe" 2>/dev/null) || continue
    if [ "$program" = "$folder/$name" ]; then
        stop "Lowrank Studio is still at work (process ${process#/proc/}). Close its window, stop its runs, and try again."
    fi
done

home=$("$folder/$name" -m core.cli.folders) || home=
if [ $data = yes ]; then
    "$folder/$name" -m core.cli.folders --delete >/dev/null || stop "not all data could be deleted; nothing else was changed."
fi
while IFS= read -r path; do
    case $path in
    */bin/*)
        # only a link that still leads here is ours
        if [ "$(readlink "$path" 2>/dev/null)" = "$folder/$name" ]; then rm -f "$path"; fi
        ;;
    *) rm -f "$path" ;;
    esac
done <"$folder/installed.txt"

if [ -z "$(ls -A "$shared/mime/packages" 2>/dev/null)" ]; then
    # with no other program's types there, all that the desktop has made of ours is nobody's
    if grep -qx "$shared/mime/" "$folder/folders.txt" || grep -qx "$shared/mime/packages/" "$folder/folders.txt"; then
        for made in aliases generic-icons globs globs2 icons magic mime.cache subclasses treemagic types version XMLnamespaces; do
            rm -f "$shared/mime/$made"
        done
        rm -rf "$shared/mime/application/vnd.lowrank-studio.spec+yaml.xml"
        rmdir "$shared/mime/application" 2>/dev/null || true
    fi
elif command -v update-mime-database >/dev/null; then
    update-mime-database "$shared/mime" 2>/dev/null || true
fi
if [ -d "$shared/applications" ]; then
    if [ -z "$(find "$shared/applications" -name '*.desktop' | head -n 1)" ]; then
        rm -f "$shared/applications/mimeinfo.cache"
    elif command -v update-desktop-database >/dev/null; then
        update-desktop-database "$shared/applications" 2>/dev/null || true
    fi
fi
# folders that install.sh made, the deepest first; one that somebody else uses by now stays
new_folders=$(sort -r "$folder/folders.txt")
cd /
rm -rf "$folder"
printf '%s\n' "$new_folders" | while IFS= read -r made; do rmdir "$made" 2>/dev/null || true; done
echo "Lowrank Studio was taken away."
if [ $data = yes ]; then
    echo "So were your models, runs, exports and caches in $home."
elif [ -n "$home" ] && [ -d "$home" ]; then
    echo "Your models, runs and exports are still in $home."
fi
