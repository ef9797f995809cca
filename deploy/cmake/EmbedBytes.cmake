# cmake -DINPUT=file -DOUTPUT=file.c -DHEADER=path.h -DSYMBOL=name -P EmbedBytes.cmake: a file as a C array.
file(READ "${INPUT}" hex HEX)
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE "${OUTPUT}" "#include \"${HEADER}\"\n\nconst uint8_t ${SYMBOL}[] = {\n${bytes}};\n"
  "const size_t ${SYMBOL}_len = sizeof ${SYMBOL};\n")
