# The last to leave: kills what a test process started and removes its directory, what is mounted there and the network namespaces called
# after it, as soon as standard input closes, which happens however that process ends. Reads "+PID" for a program to hold and "-PID" for one that was let go. $1 is the directory.
trap '' HUP INT TERM
cd /
held=
while read -r order; do
  pid=${order#?}
  kept=
  for each in $held; do [ "$each" = "$pid" ] || kept="$kept $each"; done
  held=$kept
  case $order in +*) held="$held $pid" ;; esac
done

# The group first: a program's children share it. What the kernel has not yet torn down may still write, so removal is tried again.
for pid in $held; do kill -KILL "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null; done
for each in /run/netns/"${1##*/}"-*; do [ ! -e "$each" ] || ip netns del "${each##*/}"; done 2>/dev/null
while read -r _ each _; do case $each in "$1"/*) umount -l "$each" ;; esac; done </proc/mounts 2>/dev/null
tries=0
until rm -rf -- "$1" 2>/dev/null || [ $((tries += 1)) -gt 100 ]; do sleep 0.1; done
