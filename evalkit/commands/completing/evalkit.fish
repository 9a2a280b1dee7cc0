# Completion of evalkit for fish:  evalkit completion fish > ~/.config/fish/completions/evalkit.fish
function __evalkit_complete
    set -l words (commandline -opc)
    evalkit __complete fish $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c evalkit -f -a '(__evalkit_complete)'
