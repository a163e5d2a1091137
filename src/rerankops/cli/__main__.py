from rerankops.cli import main

main()
