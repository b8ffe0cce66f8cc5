// SPDX-License-Identifier: Apache-2.0
//! Instructions that come in many forms.

pub struct Form {
    pub name: &'static str,
    pub bytes: &'static [u8], // the address is in RBX
    pub write: bool,
    pub long_only: bool,
}

const fn form(name: &'static str, bytes: &'static [u8], write: bool, long_only: bool) -> Form {
    Form {
        name,
        bytes,
        write,
        long_only,
    }
}

/// Of MOVs between a register and the memory that EBX or RBX has the address of.
pub const FORMS: &[Form] = &[
    form("mov [ebx], eax", &[0x89, 0x03], true, false),
    form("mov eax, [ebx]", &[0x8b, 0x03], false, false),
    form("mov [ebx], cl", &[0x88, 0x0b], true, false),
    form("mov dl, [ebx]", &[0x8a, 0x13], false, false),
    form("mov ah, [ebx]", &[0x8a, 0x23], false, false),
    form("mov [ebx], ch", &[0x88, 0x2b], true, false),
    form("mov [ebx], si", &[0x66, 0x89, 0x33], true, false),
    form("mov di, [ebx]", &[0x66, 0x8b, 0x3b], false, false),
    form("mov byte [ebx], 5ah", &[0xc6, 0x03, 0x5a], true, false),
    form(
        "mov dword [ebx], 12345678h",
        &[0xc7, 0x03, 0x78, 0x56, 0x34, 0x12],
        true,
        false,
    ),
    form("mov [rbx], r9", &[0x4c, 0x89, 0x0b], true, true),
    form("mov r12, [rbx]", &[0x4c, 0x8b, 0x23], false, true),
    form("mov [rbx], r10b", &[0x44, 0x88, 0x13], true, true),
    form("mov sil, [rbx]", &[0x40, 0x8a, 0x33], false, true),
    form("mov rax, [rbx]", &[0x48, 0x8b, 0x03], false, true),
    form(
        "mov qword [rbx], -2",
        &[0x48, 0xc7, 0x03, 0xfe, 0xff, 0xff, 0xff],
        true,
        true,
    ),
    form("mov ecx, [ebx]", &[0x8b, 0x0b], false, false),
    form("mov [ebx], esp", &[0x89, 0x23], true, false),
    form("mov esp, [ebx]", &[0x8b, 0x23], false, false),
    form("movzx eax, byte [ebx]", &[0x0f, 0xb6, 0x03], false, false),
    form("movsx eax, word [ebx]", &[0x0f, 0xbf, 0x03], false, false),
    form("xchg [ebx], eax", &[0x87, 0x03], true, false),
    form("mov ax, cs:[ebx]", &[0x2e, 0x66, 0x8b, 0x03], false, false),
    form(
        "mov word [ebx], 1234h",
        &[0x66, 0xc7, 0x03, 0x34, 0x12],
        true,
        false,
    ),
    form("or [ebx], eax", &[0x09, 0x03], true, false),
];

pub struct Refused {
    pub vmx: u32,
    pub svm: u32,
    pub bytes: &'static [u8],
}

/// Instructions of VT-x and SVM, and what they exit as.
pub const REFUSED: &[Refused] = &[
    Refused {
        vmx: 19,
        svm: 0,
        bytes: &[0x66, 0x0f, 0xc7, 0x33],
    },
    Refused {
        vmx: 20,
        svm: 0x80,
        bytes: &[0x0f, 0x01, 0xc2],
    },
    Refused {
        vmx: 23,
        svm: 0x82,
        bytes: &[0x0f, 0x78, 0xc0],
    },
    Refused {
        vmx: 26,
        svm: 0x83,
        bytes: &[0x0f, 0x01, 0xc4],
    },
    Refused {
        vmx: 50,
        svm: 0x84,
        bytes: &[0x66, 0x0f, 0x38, 0x80, 0x03],
    },
    Refused {
        vmx: 11,
        svm: 0x85,
        bytes: &[0x0f, 0x37],
    },
    Refused {
        vmx: 59,
        svm: 0x86,
        bytes: &[0x0f, 0x01, 0xd4],
    },
];

/// SVM's own, in the order of REFUSED.
pub const REFUSED_SVM: &[&[u8]] = &[
    &[],
    &[0x0f, 0x01, 0xd8],
    &[0x0f, 0x01, 0xda],
    &[0x0f, 0x01, 0xdb],
    &[0x0f, 0x01, 0xdc],
    &[0x0f, 0x01, 0xdd],
    &[0x0f, 0x01, 0xde],
];
