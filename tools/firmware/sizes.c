/* Prints how many bytes the link's structs take here: the table of README.md is made from it. */
#include "partpay_link.h"

#include <stdio.h>

#if PP_AUTHENTICATED_LINK
#define WITH ", authenticated"
#else
#define WITH ""
#endif

int main(void)
{
    printf("pp_terminal" WITH " %lu\n", (unsigned long)sizeof(pp_terminal));
    printf("pp_kept" WITH " %lu\n", (unsigned long)sizeof(pp_kept));
    printf("pp_message" WITH " %lu\n", (unsigned long)sizeof(pp_message));
    return 0;
}
