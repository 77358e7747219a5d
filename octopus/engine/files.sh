# Serves one session's file operations in its container, as the container's user. A request is a line `MARK OP N`, then N
# lines, one argument each: printable ASCII as it is, every other byte and the backslash as \0ooo. `write`, `commit` and `put`
# are followed by raw bytes, the last two then by a line `whole`, `pour` by bytes to the end of all input. The answer is what the operation prints, then MARK, E, its status, a space, its errors, MARK again.
# The operations in capitals are one line, `MARK OP WORDS PATH`, the words joined by commas: they are done in this very shell, without
# a process for each step and for its errors, where all is as it mostly is, and by the operation in small letters where it is not.
# MARK is new and unguessable each time. No argument ever becomes code. Every path is absolute, and where it leads was
# decided before: an operation enters the directory and looks at the kernel's name for it before it touches anything.
LC_ALL=C
export LC_ALL
unset CDPATH
nl='
'
format='%f %s %u %g %X %Y %h'
piece=131072 # bytes that stay in a processor's cache between reading and writing them
temps=
putting=
have() { command -v "$1" >/dev/null 2>&1; }
fail() { # says it as the C library does
    printf '%s\n' "$1" >&2
    exit 1
}
decode() { # $1 an argument as it came -> value
    value=$1
    case $value in *'\'*) value=$(printf '%b.' "$1") value=${value%.} ;; esac
}
attributes() { stat -c "$format" "$1"; }
if ! stat -c "$format" / >/dev/null 2>&1; then
    attributes() {
        when=$(date -r "$1" +%s 2>/dev/null) || when=0
        set -f
        set -- $(ls -ldn "$1")
        case $5 in *,) set -- "$1" "$2" "$3" "$4" 0 ;; esac
        printf '%s %s %s %s %s %s %s\n' "$1" "$5" "$3" "$4" "$when" "$when" "$2"
    }
    have_stat=
else
    have_stat=1
fi
why() { # leaves with the reason why directory $1 cannot be entered; the shell's own words differ
    ls -d "${1%/}/." >/dev/null || exit 1
    fail 'Permission denied'
}
into() { # enters directory $1, which must be no link and lie nowhere else
    cd -P "$1" 2>/dev/null || why "$1"
    [ "$PWD" = "$1" ] || fail 'Path changed'
}
enter() { # enters the directory of path $1 -> base, its last name
    base=${1##*/}
    directory=${1%/*}
    into "${directory:-/}"
    base=${base:-.}
}
is_open() { # stands standard input for path $1, and nothing else?
    [ "$(readlink /proc/self/fd/0 && printf .)" = "$1$nl." ] || fail 'Path changed'
}
plain() { # is ./$1 a file that opening does nothing to?
    [ -L "./$1" ] && fail 'Path changed'
    [ -e "./$1" ] || fail 'No such file or directory'
    [ -d "./$1" ] && fail 'Is a directory'
    [ -f "./$1" ] || fail 'Not a regular file'
}
there() { [ -e "./$1" ] || [ -L "./$1" ]; }

op_hello() { # where the session starts, and what works here
    missing=
    for word in dd mv rm ln mkdir rmdir chmod readlink ls cat; do have $word || missing="$missing $word"; done
    [ "$(cd / && readlink /proc/self/fd/0 <. 2>/dev/null)" = / ] || missing="$missing /proc"
    [ "$(printf abcd | dd bs=3 count=1 iflag=fullblock 2>/dev/null)" = abc ] || missing="$missing fullblock"
    printf '%s\n' "$(umask)$missing"
    pwd -P
}
op_resolve() { # path follow: its attributes or - (-w: it can be made), and the path without links
    path=$1 left=40
    while :; do
        follow=$2
        while [ "$path" != "${path%/}" ]; do path=${path%/} follow=1; done
        base=${path##*/} directory=${path%/*}
        case $base in
        '' | . | ..) directory=$path base=. ;;
        esac
        cd -P "${directory:-/}" 2>/dev/null || why "${directory:-/}"
        [ "$follow" = 1 ] && [ -L "./$base" ] || break
        left=$((left - 1))
        [ $left -gt 0 ] || fail 'Too many levels of symbolic links'
        path=$(readlink "./$base" && printf .) || exit 1
        path=${path%"$nl".}
        case $path in /*) ;; *) path=${PWD%/}/$path ;; esac
    done
    if there "$base"; then attributes "./$base" || exit 1; elif [ -w . ]; then echo -w; else echo -; fi
    [ "$base" = . ] && path=$PWD || path=${PWD%/}/$base
    printf %s "$path"
}
beginning() { # size: so many bytes of standard input; where there may be more also its identity and attributes
    told=$(dd "bs=$1" count=1 iflag=fullblock 2>&1 >&4)
    case $?$told in
    00+*) ;;
    01+0*) stat -L -c "%d:%i $format" /proc/self/fd/0 ;;
    *)
        printf '%s\n' "$told" >&2
        return 1
        ;;
    esac
}
op_fetch() { # path size mark: the path without links, mark, B, and its `beginning`; what `resolve` says where that will not do
    [ "$have_stat" ] && [ -f "$1" ] && [ -r "$1" ] || {
        op_resolve "$1" 1
        return
    }
    {
        readlink /proc/self/fd/0 || exit 1
        printf %sB "$3"
        beginning "$2"
    } <"$1"
}
op_entries() { # path mark: for each name mark, R, attributes, ./name
    into "$1"
    [ -r . ] || fail 'Permission denied'
    if [ "$have_stat" ] && have find; then
        find . ! -name . -prune -exec stat -c "$2R$format %n" {} + 2>/dev/null </dev/null
        return 0
    fi
    for file in ./* ./.*; do
        case $file in ./. | ./..) continue ;; esac
        there "${file#./}" && printf '%sR%s %s\n' "$2" "$(attributes "$file")" "$file"
    done
    return 0
}
op_look() { # directory mark ./names: where that leads, and for each name that is there mark, R, attributes, ./name
    [ "$have_stat" ] && cd -P "$1" 2>/dev/null || exit 1
    printf %s "$PWD"
    format="$2R$format %n"
    shift 2
    stat -c "$format" "$@" 2>/dev/null </dev/null
    return 0
}
op_read_link() { # path
    enter "$1"
    [ -L "./$base" ] || fail 'Invalid argument'
    readlink "./$base"
}
op_read() { # path offset size: identity and attributes of the open file, and its bytes
    enter "$1"
    plain "$base"
    {
        is_open "$1"
        if [ "$have_stat" ]; then
            stat -L -c "%d:%i $format" /proc/self/fd/0 || exit 1
        else
            printf -- '- '
            attributes "./$base" || exit 1
        fi
        [ "$2" = 0 ] || dd bs=1 "skip=$2" count=0 2>/dev/null || exit 1
        blocks=$(($3 / piece)) rest=$(($3 % piece))
        [ $blocks = 0 ] || dd bs=$piece "count=$blocks" iflag=fullblock || exit 1
        [ $rest = 0 ] || dd "bs=$rest" count=1 iflag=fullblock
    } <"./$base"
}
op_create() { # temporary, name, exclusive: the attributes of what is there or -, and whether the temporary was made
    enter "$1"
    temporary=$base
    if there "$2"; then
        [ "$3" = 1 ] && fail 'File exists'
        plain "$2"
        attributes "./$2" || exit 1
    else
        echo -
    fi
    if trouble=$(set -C && umask 077 && : 2>&1 >"./$temporary"); then
        there "$2" && ! [ -w "./$2" ] && rm -f "./$temporary" && fail 'Permission denied'
        echo new
    elif there "$2" && [ -w "./$2" ]; then
        echo in-place
    else
        fail "$trouble"
    fi
}
op_check() { # path: its attributes, if it may be written
    enter "$1"
    plain "$base"
    [ -w "./$base" ] || fail 'Permission denied'
    attributes "./$base"
}
drain() { [ "$1" = 0 ] || dd "bs=$1" count=1 iflag=fullblock >/dev/null 2>&1; }
pass() { # size: so many bytes from standard input to file 5; 98: how many were read is not known
    blocks=$(($1 / piece)) rest=$(($1 % piece))
    if [ $blocks != 0 ] && ! trouble=$(dd bs=$piece "count=$blocks" iflag=fullblock 2>&1 >&5); then
        printf '%s\n' "$trouble" >&2
        taken=${trouble%%' records in'*}
        taken=${taken##*"$nl"}
        taken=${taken%+*}
        case $taken in '' | *[!0-9]*) exit 98 ;; esac
        drain $(($1 - taken * piece)) || exit 98
        exit 99
    fi
    if [ $rest != 0 ] && ! trouble=$(dd "bs=$rest" count=1 iflag=fullblock 2>&1 >&5); then
        printf '%s\n' "$trouble" >&2
        case $trouble in *1+0' records in'* | *0+1' records in'*) exit 99 ;; esac
        exit 98
    fi
}
block() { # path offset size append; leaves with 99 when it failed after it took the bytes
    enter "$1"
    plain "$base"
    {
        is_open "$1" <&5
        [ "$2" = 0 ] || dd bs=1 "seek=$2" count=0 >&5 2>/dev/null || exit 1
        pass "$3"
    } 5<>"./$base"
}
op_write() { # path offset size, then that many bytes
    [ "$3" = 0 ] && return 0
    (block "$@")
    status=$?
    case $status in 0 | 98 | 99) ;; *) drain "$3" || status=98 ;; esac
    return $status
}
op_append() { # path size, then that many bytes: at the end, wherever that is by now
    (
        enter "$1"
        plain "$base"
        {
            is_open "$1" <&5
            pass "$2"
        } 5>>"./$base"
    )
    status=$?
    case $status in 0 | 98 | 99) ;; *) drain "$2" || status=98 ;; esac
    return $status
}
op_pour() { # path offset, then bytes to the end of the input: the last operation of a helper that is there for nothing else
    enter "$1"
    plain "$base"
    {
        is_open "$1" <&5
        [ "$2" = 0 ] || dd bs=1 "seek=$2" count=0 >&5 2>/dev/null || exit 1
        dd bs=$piece >&5
    } 5<>"./$base"
}
touched() { # file atime mtime
    touch -a -d "@$2" "$1" 2>/dev/null && touch -m -d "@$3" "$1" 2>/dev/null || touch -d "@$3" "$1"
}
settle() { # name size exclusive mode owner atime mtime former-owner written: the temporary ./$base takes its place
    [ "$9" = "0 $2" ] || [ "$(if [ "$have_stat" ]; then stat -c %s "./$base"; else wc -c <"./$base"; fi)" -eq "$2" ] || fail 'Bytes are missing'
    if [ -f "./$1" ]; then # what is replaced keeps its owner, where the kernel lets us
        chown "$8" "./$base" 2>/dev/null
    fi
    [ "$5" = '' ] || chown "$5" "./$base" || exit 1
    chmod "$4" "./$base" || exit 1
    [ "$6" = '' ] || touched "./$base" "$6" "$7" || exit 1
    if [ "$3" = 1 ]; then
        ln "./$base" "./$1" || exit 1
        rm -f "./$base"
    else
        there "$1" && plain "$1"
        mv -f "./$base" "./$1" 2>/dev/null && return
        # a file that is a mount of its own cannot be replaced, only filled; elsewhere mv says why
        [ -f "./$1" ] && [ -w "./$1" ] && cat "./$base" >"./$1" || mv -f "./$base" "./$1" || exit 1
        rm -f "./$base"
    fi
}
op_put() { # temporary size name exclusive umask mode owner atime mtime, then that many bytes: a small file that was not there
    left=$2 full=
    trap '[ "$left" = 0 ] || drain "$left"; [ "$end" ] || IFS= read -r end; [ "$end" = whole ] || exit 97' EXIT
    end=
    enter "$1"
    umask "$5"
    set -C
    {
        [ "$2" = 0 ] || dd "bs=$2" count=1 iflag=fullblock || full=1
        left=0
    } >"./$base" || exit 1
    set +C
    trap '[ "$end" ] || IFS= read -r end; rm -f "./$base"; [ "$end" = whole ] || exit 97' EXIT
    [ "$full" ] && exit 1
    IFS= read -r end
    [ "$end" = whole ] || fail 'Bytes are missing' # a connection was cut before the last one
    there "$3" && plain "$3"
    [ "$7" = '' ] || chown "$7" "./$base" || exit 1
    [ "$6" = '' ] || chmod "$6" "./$base" || exit 1
    [ "$8" = '' ] || touched "./$base" "$8" "$9" || exit 1
    if [ "$4" = 1 ]; then ln "./$base" "./$3" || exit 1; else mv -f "./$base" "./$3" || exit 1; fi
    [ "$4" = 1 ] || trap - EXIT
}
op_commit() { # temporary offset bytes name size exclusive mode owner atime mtime former-owner, then that many bytes
    op_write "$1" "$2" "$3"
    status=$?
    [ $status != 98 ] || return 98
    IFS= read -r end
    [ "$end" = whole ] || {
        echo 'Bytes are missing' >&2
        status=97
    }
    failed=$status
    [ $status = 0 ] && (
        enter "$1"
        written="$2 $3"
        shift 3
        settle "$@" "$written"
    ) && return
    status=$?
    [ $failed != 97 ] || status=97
    (enter "$1" && rm -f "./$base")
    return $status
}
op_discard() { # temporary
    enter "$1"
    rm -f "./$base"
}
op_change() { # path size owner mode atime mtime: "" leaves it
    enter "$1"
    [ -L "./$base" ] && fail 'Path changed'
    there "$base" || fail 'No such file or directory'
    if [ -f "./$base" ] || [ -d "./$base" ]; then
        if [ -r "./$base" ]; then
            change "$@" <"./$base"
            return
        fi
    fi
    # what cannot be opened is named: a link swapped in at this very moment would be followed
    [ "$2" = '' ] || resize "$2"
    altered "./$base" "$3" "$4" "$5" "$6"
}
change() {
    is_open "$1"
    [ "$2" = '' ] || resize "$2"
    altered /proc/self/fd/0 "$3" "$4" "$5" "$6"
}
resize() { # size
    plain "$base"
    [ -w "./$base" ] || fail 'Permission denied'
    dd if=/dev/null "of=./$base" bs=1 "seek=$1" count=0 2>/dev/null || fail 'Permission denied'
}
altered() { # file owner mode atime mtime
    [ "$2" = '' ] || chown "$2" "$1" || exit 1
    [ "$3" = '' ] || chmod "$3" "$1" || exit 1
    [ "$4" = '' ] || touched "$1" "$4" "$5" || exit 1
}
op_make_directory() { # path mode
    enter "$1"
    mkdir "./$base" || exit 1
    [ "$2" = '' ] || chmod "$2" "./$base"
}
op_remove_directory() { # path
    enter "$1"
    [ "$base" = . ] && fail 'Device or resource busy'
    rmdir "./$base"
}
op_remove() { # path
    enter "$1"
    there "$base" || fail 'No such file or directory'
    [ -d "./$base" ] && ! [ -L "./$base" ] && fail 'Is a directory'
    rm -f "./$base"
}
op_rename() { # old new replace
    enter "$2"
    name=$base
    taken=
    if there "$name"; then
        [ "$3" = 1 ] || fail 'File exists'
        [ -d "./$name" ] && taken=directory
        [ -L "./$name" ] && taken=${taken:+link}
    fi
    enter "$1"
    there "$base" || fail 'No such file or directory'
    [ "$1" = "$2" ] && return
    if [ "$taken" = link ]; then # mv would move into where it leads
        [ -d "./$base" ] && ! [ -L "./$base" ] && fail 'Not a directory'
        mv -fT "./$base" "$2" 2>/dev/null && return
        rm -f "$2" || exit 1
        taken=
    fi
    if [ "$taken" ]; then # mv would move into it
        case $1 in "${2%/}"/*) fail 'Directory not empty' ;; esac # it holds what is renamed, as the kernel sees before all else
        [ -d "./$base" ] && ! [ -L "./$base" ] || fail 'Is a directory'
        rmdir "$2" || exit 1
    elif [ "$3" != 1 ] && [ -f "./$base" ] && ! [ -L "./$base" ] && ln "./$base" "$2" 2>/dev/null; then
        rm -f "./$base" # nothing is ever replaced so, whoever was faster
        return
    fi
    mv -f "./$base" "$2"
}
op_symlink() { # text path
    enter "$2"
    there "$base" && fail 'File exists'
    ln -s -- "$1" "./$base"
}
op_link() { # old new
    enter "$2"
    there "$base" && fail 'File exists'
    enter "$1"
    there "$base" || fail 'No such file or directory'
    ln "./$base" "$2"
}
op_space() { # path: block size, blocks, free, available, inodes, inodes free
    enter "$1"
    stat -f -c '%S %b %f %a %c %d' "./$base" 2>/dev/null && return
    df -Pk "./$base" | {
        read -r _
        read -r _ all _ free _ && printf '1024 %s %s %s 0 0\n' "$all" "$free" "$free"
    }
}

forget() { # a temporary that is none any more
    kept=
    old=$IFS IFS=$nl
    set -f
    for one in $temps; do [ "$one" = "$1" ] || kept="$kept$one$nl"; done
    set +f
    IFS=$old
    temps=$kept
}
tidy() { # nobody will come back for these
    [ "$putting" ] && rm -f "${making%/}/$putting"
    IFS=$nl
    set -f
    for one in $temps; do
        decode "$one"
        (enter "$value" && rm -f "./$base") 2>/dev/null
    done
}
trap tidy EXIT
trap 'exit 1' HUP INT TERM
quick() { # operation, words: for path $path; 2: nothing was done
    operation=$1 base=${path##*/} directory=${path%/*}
    directory=${directory:-/}
    case $base in '' | . | ..) return 2 ;; esac
    if [ "$operation" = DROP ] || ! cd -P "$directory"; then
        quick_DROP
        case $operation in DROP) return 0 ;; PLACE) return 1 ;; *) return 2 ;; esac
    fi
    old=$IFS IFS=,
    set -f
    set -- $2
    set +f
    IFS=$old
    "quick_$operation" "$@"
}
quick_LOOK() { # follow
    if [ -L "./$base" ]; then
        [ "$1" = 0 ] || return 2
    elif ! [ -e "./$base" ]; then
        if [ -w . ]; then echo -w; else echo -; fi
        printf %s "${PWD%/}/$base"
        return 0
    fi
    [ "$have_stat" ] && stat -c "$format" "./$base" 2>/dev/null || return 2
    printf %s "${PWD%/}/$base"
}
quick_FETCH() { # size
    [ "$have_stat" ] && [ -f "./$base" ] && [ -r "./$base" ] && ! [ -L "./$base" ] || return 2
    {
        [ "./$base" -ef /proc/self/fd/0 ] && ! [ -L "./$base" ] || return 2
        printf '%s\n%sB' "${PWD%/}/$base" "$mark"
        beginning "$1"
    } 2>/dev/null <"./$base" || return 1
}
make() { # umask: the file that takes its place next, by the same mark, open as file 5
    [ "$PWD" = "$directory" ] && ! [ "$putting" ] && ! there "$base" || return
    making=$PWD putting=.octopus-$mark
    umask "$1"
    set -C
    command exec 5>"./$putting" || putting=
    set +C
    umask "$mask"
}
place() { # mode owner atime mtime: it takes its place, or is gone
    { [ "$2" = '' ] || chown "$2" "./$putting"; } && { [ "$1" = '' ] || chmod "$1" "./$putting"; } &&
        { [ "$3" = '' ] || touched "./$putting" "$3" "$4"; } && mv -f "./$putting" "./$base" || {
        rm -f "./$putting"
        putting=
        return 1
    }
    putting=
}
quick_STORE() { # size umask, then that many bytes: what is to take its place later, by the same mark; nothing is said
    make "$2"
    [ "$putting" = ".octopus-$mark" ] || return
    taken=1
    dd "bs=$1" count=1 iflag=fullblock >&5 || quick_DROP
    exec 5>&-
}
quick_DROP() { # it is not to
    [ "$putting" = ".octopus-$mark" ] || return 0
    exec 5>&-
    rm -f "${making%/}/$putting"
    putting=
}
quick_PLACE() { # mode owner atime mtime; 1: it was not done, whoever has the bytes may try again
    [ "$putting" = ".octopus-$mark" ] || return 1
    if ! [ "$PWD" = "$directory" ] || there "$base"; then
        quick_DROP
        return 1
    fi
    place "$@"
}
quick_PUT() { # size umask mode owner atime mtime, then that many bytes; 1 as above
    quick_DROP
    make "$2"
    [ "$putting" = ".octopus-$mark" ] || return 2
    dd "bs=$1" count=1 iflag=fullblock >&5
    status=$?
    exec 5>&-
    end=
    IFS= read -r end
    [ "$end" = whole ] || exit 1 # a connection that was cut; out of step in any case
    shift 2
    [ "$status" = 0 ] && place "$@" && return
    quick_DROP
    return 1
}

exec 4>&1
mask=$(umask)
while read -r mark op count path; do
    case $op in
    [A-Z]*)
        decode "$path"
        path=$value
        taken=
        quick "$op" "$count" 2>/dev/null
        status=$?
        cd /
        if [ "$op" = STORE ]; then
            [ "$taken" ] || drain "${count%%,*}"
            IFS= read -r end
            [ "$end" = whole ] || exit 1
            continue
        fi
        if [ $status != 2 ]; then
            printf '%sE%s %s\n' "$mark" "$status" "$mark"
            continue
        fi
        case $op in
        LOOK) op=resolve && set -- "$path" "$count" ;;
        FETCH) op=fetch && set -- "$path" "$count" "$mark" ;;
        PUT)
            op=put old=$IFS IFS=,
            set -f
            set -- $count
            set +f
            IFS=$old
            set -- "${path%/*}/.octopus-$mark" "$1" "${path##*/}" 0 "$2" "$3" "$4" "$5" "$6"
            ;;
        esac
        ;;
    *)
        set --
        first=
        while [ "$count" -gt 0 ]; do
            IFS= read -r line || exit 1
            first=${first:-$line}
            decode "$line"
            set -- "$@" "$value"
            count=$((count - 1))
        done
        ;;
    esac
    case $op in create) temps="$temps$first$nl" ;; esac
    errors=$("op_$op" "$@" 2>&1 >&4)
    status=$?
    [ $status != 98 ] || exit 1
    gone=
    [ $status != 97 ] || status=1 gone=1 # cut, or out of step: what comes next may be a file's bytes, and is no request
    case $op$status in create0) ;; create* | commit* | discard*) forget "$first" ;; esac
    printf '%sE%s %s%s\n' "$mark" "$status" "$errors" "$mark"
    [ "$gone" ] && exit 1
    [ "$op" != pour ] || {
        cat >/dev/null # what comes after a failure is a file's bytes, and no request
        exit 0
    }
done
