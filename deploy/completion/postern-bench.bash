# Generated from the help: go test ./cmd/postern/internal/packaging -run Reference -update
_postern_bench() {
    local cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command= flags= words= files= word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [[ $word != -* ]]; then
            command=$word
            break
        fi
    done
    case $command in
        *)
            flags="-attack -baseline -ca -duration -files -flood -held -hour -html -i-run-this-server -imap -imaps -insecure -json -kinds -limit -list -log -most -password-file -pop3 -pop3s -postern -proxy -rate -readme -rounds -sessions -settle -target -timeout -times -user -users -volume -work -workers" words="login idle relay attack tarpit overload capacity incident informed viewers sharing all" files="-ca -html -json -password-file -postern -readme -users"
            ;;
    esac
    COMPREPLY=()
    if [[ " $files " = *" $previous "* ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    elif [[ $cur = -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
    elif [[ $words = FILES ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    fi
}
complete -F _postern_bench postern-bench
