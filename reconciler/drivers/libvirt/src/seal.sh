# Sets aside in memory what makes a system this one machine: its SSH host keys and its machine id.
set -eu
umask 077
aside=/run/labyard-sealed
keys="/etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub /etc/dropbear/dropbear_*_host_key"
ids="/etc/machine-id /var/lib/dbus/machine-id"
# What a link leads to is not set aside, and would stay in the image.
for file in $keys; do
    if [ -L "$file" ]; then
        echo "$file is a link: put the key itself there" >&2
        exit 1
    fi
done
if [ ! -d $aside ]; then
    rm -rf $aside.new
    mkdir $aside.new
    for file in $keys $ids; do
        if [ -f "$file" ] && [ ! -L "$file" ]; then
            mkdir -p "$aside.new${file%/*}"
            cp -p "$file" "$aside.new$file"
        fi
    done
    mv $aside.new $aside
fi
for file in $keys; do rm -f "$file"; done
# An empty one is filled at the next start; without one some systems take that start for their first.
for file in $ids; do
    if [ -f "$file" ] && [ ! -L "$file" ]; then : >"$file"; fi
done
sync
